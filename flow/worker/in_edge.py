"""The consumer's end of an edge: entries in turn, whatever replica they come from; acknowledgement."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from flow.entry import EdgeCodec, Entry, EntryError, Kind
from flow.ledger import Block
from flow.link.contract import Receiver
from flow.plan.value import Edge
from flow.pool import Pool, PoolError

ENDED = 1 << 62


class InEdge:
    """The consumer's end: entries in turn, whatever replica they come from."""

    def __init__(
        self, edge: Edge, codec: EdgeCodec, pools: Mapping[int, Pool], block: Block, *, replica: int, replicas: int, producers: int
    ) -> None:
        self.edge, self.codec, self.pools, self.block = edge, codec, pools, block
        self.replicas = replicas
        self.links: list[Receiver | None] = [None] * producers
        self.key = f"taken:{edge.id}"
        self.next_turn = block.get(f"{self.key}.turn") or replica
        self.settled_turn = self.next_turn
        self.early: dict[int, Entry] = {}
        self.queue: deque[tuple[int, Entry]] = deque()
        self.ended = self.abandoned = False
        self.confirms = True
        """Whether producers are told what has merely arrived, and need not keep it for their own successors. Not while it will wait for
        long: our successor could not ask them then.
        """
        self._end_turn = ENDED
        self.received = [self.next_turn] * producers
        if self.next_turn >= ENDED:
            self.ended = True
            self.queue.append((ENDED, Entry(Kind.END, 0, 0, ENDED, ENDED, None, 0)))
        self._dirty: set[int] = set()
        self._told = -1
        self._counts: dict[int, int] = {}
        dropped = block.get(f"{self.key}.dropped:join") + block.get(f"{self.key}.dropped:broken")
        settled = block.get(f"{self.key}.settled")
        with block.change():
            block.set(f"{self.key}.in", settled)
            block.set(f"{self.key}.out", settled - dropped)
            block.set(f"{self.key}.in_flight", 0)

    def open(self, producer: int, receiver: Receiver) -> None:
        """Uses a new link from this replica and tells it how far we got."""
        old = self.links[producer]
        if old is not None:
            old.close()
        self.links[producer] = receiver
        self._say(producer, receiver)

    def poll(self) -> bool:
        """Takes in what has arrived; whether anything did."""
        moved = False
        for producer, link in enumerate(self.links):
            while link is not None and (message := link.receive()) is not None:
                turn, data = message
                self._dirty.add(producer)
                if turn < self.received[producer]:
                    continue
                self.received[producer] = turn + 1
                self.early[turn] = self._decode(data)  # at once: its slots must be held before we say that it has arrived
                moved = True
        if self.abandoned:
            self._discard()
        while not self.ended and (found := self.early.pop(self.next_turn, None)) is not None:
            turn = self.next_turn
            self.next_turn += self.replicas
            self._enqueue(turn, found)
        return moved

    def stirs(self) -> bool:
        """Whether a link has entries that were not taken in."""
        return any(link is not None and link.stirs() for link in self.links)

    def abandon(self) -> None:
        """Nothing that comes here will meet anybody any more: it is taken, counted and let go. To be settled with turn ENDED."""
        while self.queue:
            _, entry = self.queue.popleft()
            self.finish(entry, joined=False)
        self.abandoned = True
        self._discard()

    def _discard(self) -> None:
        for entry in self.early.values():
            if entry.kind is Kind.FRAME:
                self.block.add(f"{self.key}.in")
                self.block.add(f"{self.key}.dropped:join")
            entry.release()
        self.early.clear()

    def _decode(self, data: memoryview) -> Entry:
        try:
            return self.codec.decode(data, self.pools)
        except (EntryError, PoolError):
            self.block.add(f"{self.key}.in")
            self.block.add(f"{self.key}.dropped:broken")
            return self.codec.decode(memoryview(bytes([Kind.BOUND]) + bytes(data[1:])), {})

    def _enqueue(self, turn: int, entry: Entry) -> None:
        if entry.kind is Kind.FRAME:
            self.block.add(f"{self.key}.in")
            self.block.add(f"{self.key}.in_flight")
        if entry.kind is Kind.END:
            self.ended, self._end_turn = True, turn
        self._counts[turn] = self.block.get(f"{self.key}.in")
        self.queue.append((turn, entry))

    def pop(self) -> tuple[int, Entry]:
        """The first entry, to be processed now."""
        return self.queue.popleft()

    def finish(self, entry: Entry, *, joined: bool = True) -> None:
        """The entry has been processed, or was dropped because its partners never came."""
        if entry.kind is Kind.FRAME:
            self.block.add(f"{self.key}.in_flight", -1)
            self.block.add(f"{self.key}.out" if joined else f"{self.key}.dropped:join")
        entry.release()

    def mark(self) -> tuple[InEdge, int]:
        """Everything taken so far, to be settled later."""
        turn = self.next_turn - self.replicas
        self._counts[turn] = self.block.get(f"{self.key}.in")
        return self, turn

    def settle(self, turn: int) -> None:
        """Everything up to `turn` is published where our death cannot touch it."""
        self.settled_turn = ENDED if turn in (self._end_turn, ENDED) else turn + self.replicas
        self.block.set(f"{self.key}.turn", self.settled_turn)
        self.block.set(f"{self.key}.settled", self._counts.pop(turn, self.block.get(f"{self.key}.settled")))
        self._dirty.update(range(len(self.links)))

    def acknowledge(self, *, idle: bool = False) -> None:
        """Tells producers what is finished, once a round; that something has merely arrived only when there is nothing else to do."""
        if not self._dirty or (self.settled_turn == self._told and not idle):
            return
        self._told = self.settled_turn
        for producer in self._dirty:
            link = self.links[producer]
            if link is not None:
                self._say(producer, link)
        self._dirty.clear()

    def _say(self, producer: int, link: Receiver) -> None:
        link.acknowledge(self.received[producer] if self.confirms else self.settled_turn, self.settled_turn)

    def confirm(self) -> None:
        """What has arrived will be processed now."""
        self.confirms, self._told = True, -1
        self._dirty.update(range(len(self.links)))

    @property
    def owes(self) -> bool:
        """Whether producers have not been told yet of what arrived."""
        return bool(self._dirty)

    def close(self) -> None:
        for index, link in enumerate(self.links):
            if link is not None:
                link.close()
                self.links[index] = None
