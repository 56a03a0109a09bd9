"""The links of a worker: rings as they are granted, ZeroMQ links as they are ordered, and those between its own chains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import zmq

from flow.link.bell import Bell
from flow.link.contract import Receiver, Sender
from flow.link.local import LocalLink
from flow.link.ring import RingReceiver, RingSender
from flow.link.zeromq import ZmqReceiver, ZmqSender
from flow.pool import Pool
from flow.wiring import LinkId, Seat, Wiring
from flow.worker.chain import ChainRunner
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge
from flow.worker.setup import LinkOrder, RingGrant
from flow.worker.waiter import Waiter


class LaneLinks:
    """Puts links to the ends of edges, at the start and while running."""

    def __init__(self, wiring: Wiring, seat: Seat, context: zmq.Context[zmq.Socket[bytes]], waiter: Waiter) -> None:
        self.wiring, self.seat, self.context, self.waiter = wiring, seat, context, waiter
        self.chains: Sequence[ChainRunner] = ()
        self.inbound: dict[int, InEdge] = {}
        self.outbound: dict[int, OutEdge] = {}
        self._early: list[tuple[RingGrant, Sequence[int]]] = []

    def begin(self, chains: Sequence[ChainRunner], received: Mapping[int, Mapping[int, Pool]]) -> None:
        """The worker's chains stand: links may be used. `received`: the pools of each chain."""
        self.chains = chains
        for link in self.wiring.links():
            if self.wiring.ends(link) == (self.seat, self.seat) and self.wiring.carrier(link) == "local":
                sender, receiver = LocalLink(self.inbound[link.edge].settled_turn).ends()
                self.send_over(link, sender)
                self.receive_from(link, receiver)
        self.connect_early()
        for chain in self.chains:
            chain.links_changed()
            _hold_what_is_under_way(chain, received[chain.chain.id])

    def connect_early(self) -> None:
        """Uses rings that came before the edges they belong to."""
        early, self._early = self._early, []
        for grant, fds in early:
            self.connect(grant, fds)

    def forget(self, edge: OutEdge) -> None:
        """An edge is gone."""
        self.outbound.pop(edge.edge.id, None)
        for link in edge.links:
            if link.sender is not None and link.sender.waitable is not None:
                self.waiter.remove(link.sender.waitable)
        edge.close()

    def connect(self, grant: RingGrant, fds: Sequence[int]) -> None:
        """Uses a ring; before there is its edge, it waits for it."""
        if grant.link.edge not in (self.outbound if grant.sending else self.inbound) or not self.chains:
            self._early.append((grant, fds))
            return
        ring, bell, word = fds
        other = Bell(bell, word, own=False)
        if grant.sending:
            self.send_over(grant.link, RingSender(grant.shape, ring, other))
        else:
            self.receive_from(grant.link, RingReceiver(grant.shape, ring, other))

    def open(self, order: LinkOrder) -> None:
        """Opens a ZeroMQ link; nothing for an edge of a plan that this worker does not know yet, or no more."""
        if order.link.edge not in (self.outbound if order.sending else self.inbound):
            return
        if order.sending:
            self.send_over(order.link, ZmqSender(self.context, order.address))
        else:
            limit = self.inbound[order.link.edge].edge.payload + 4096
            self.receive_from(order.link, ZmqReceiver(self.context, order.address, limit))

    def send_over(self, link: LinkId, sender: Sender) -> None:
        """Gives an edge this end of a link, in the place of an older one."""
        edge = self.outbound[link.edge]
        self._change_waiting(edge.links[link.consumer].sender, sender)
        with edge.block.change():
            edge.open(link.consumer, sender)
        self._changed(edge.edge.producer)

    def receive_from(self, link: LinkId, receiver: Receiver) -> None:
        """The same for the other end."""
        edge = self.inbound[link.edge]
        self._change_waiting(edge.links[link.producer], receiver)
        with edge.block.change():
            edge.open(link.producer, receiver)
        self._changed(edge.edge.consumer)

    def _changed(self, chain: int) -> None:
        for one in self.chains:
            if one.chain.id == chain:
                one.links_changed()

    def _change_waiting(self, old: Sender | Receiver | None, new: Sender | Receiver) -> None:
        if old is not None and old.waitable is not None:
            self.waiter.remove(old.waitable)
        if new.waitable is not None:
            self.waiter.add(new.waitable)


def _hold_what_is_under_way(chain: ChainRunner, pools: Mapping[int, Pool]) -> None:
    """The rows of an earlier life hold what it had published, and what has been finished with since: now only the first."""
    held: dict[int, Counter[int]] = {}
    for edge in (*chain.outbound, *chain.beside):
        for ref in edge.held():
            held.setdefault(ref.pool.shape.id, Counter())[ref.slot] += 1
    for number, pool in pools.items():
        pool.reset_holds(held.get(number, Counter()))
