"""A worker's line to the executor: commands and events over ZeroMQ, memory over the channel that it was born with."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from flow import channel
from flow.link.bell import Bell
from flow.link.ring import RingSender
from flow.link.rows import SHAPE, RowSender
from flow.plan.value import Ref
from flow.pool import Pool
from flow.worker.setup import GRANT, RING, PoolGrant, RingGrant
from flow.worker.source import NoMemory

GROW_TIMEOUT_S = 30.0


class ArrivingPools(dict[int, Pool]):
    """The pools of one chain by number. One that an entry names before it is known waits on the channel: it was sent before the entry."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self._control = control

    def __contains__(self, number: object) -> bool:
        while not super().__contains__(number) and self._control.pending():
            self._control.take(passing=True)
        return super().__contains__(number)


class Control:
    """The worker's end. `attach` is called with every pool that arrives, `connect` with every ring."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, name: str, sock: socket.socket) -> None:
        self.sock = sock
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.connect(address)
        self.attach: Callable[[PoolGrant, Pool], None] = lambda grant, pool: None
        self.sent: Callable[[], None] = lambda: None
        """Called before something is sent: sending may take in what the socket's descriptor would tell of."""
        self.connect: Callable[[RingGrant, Sequence[int]], None] = lambda grant, fds: None
        self.late: list[tuple[RingGrant, Sequence[int]]] = []
        self._results: dict[int, RowSender] = {}
        """Where the executor takes results itself, by sink."""

    def tell(self, event: str, **fields: Any) -> None:
        """Tells the executor."""
        self.sent()
        self.socket.send(json.dumps({"event": event, **fields}).encode())

    def commands(self) -> list[dict[str, Any]]:
        """What the executor has asked for since."""
        found = []
        while True:
            try:
                found.append(json.loads(self.socket.recv(zmq.DONTWAIT)))
            except zmq.Again:
                return found

    def pending(self) -> bool:
        """Whether something waits on the channel."""
        return channel.arrives(self.sock)

    def take(self, *, passing: bool = False) -> dict[str, Any]:
        """One message of the channel; pools are attached. While a frame is `passing`, its links stay as they are: rings wait in `late`.

        Raises channel.Closed when the executor is gone.
        """
        message, fds = channel.receive(self.sock)
        if message.get("kind") == "pool":
            grant = GRANT.validate_python(message["grant"])
            self.attach(grant, Pool(grant.shape, fds[0], fds[1], grant.row))
        elif message.get("kind") == "ring":
            self.late.append((RING.validate_python(message["grant"]), fds))
            if not passing:
                self.connect_late()
        elif message.get("kind") == "results":
            ring, bell, word = fds
            self._results[int(message["sink"])] = RowSender(RingSender(SHAPE, ring, Bell(bell, word, own=False)))
        return message

    def connect_late(self) -> None:
        """Uses the rings that have come."""
        late, self.late = self.late, []
        for grant, fds in late:
            self.connect(grant, fds)

    def rows(self, sink: int) -> RowSender:
        """Where the results of a sink go; the executor has said so before it asked for them."""
        while sink not in self._results or self.pending():
            self.take()
        return self._results[sink]

    def grow(self, chain: int, ref: Ref, nbytes: int) -> Pool:
        """A pool with slots of at least `nbytes` for what a chain emits at `ref`. Raises NoMemory when the device has none left."""
        self.tell("grow", chain=chain, address=ref.address, port=ref.port, bytes=nbytes)
        grown: list[Pool] = []
        attach = self.attach

        def catch(grant: PoolGrant, pool: Pool) -> None:
            attach(grant, pool)
            if grant.row == 0 and (grant.chain, grant.address, grant.port) == (chain, ref.address, ref.port):
                grown.append(pool)

        self.attach = catch
        try:
            while not grown:
                if not channel.arrives(self.sock, GROW_TIMEOUT_S):
                    raise NoMemory(f"expected a pool with slots of {nbytes} bytes, got no answer in {GROW_TIMEOUT_S:.0f} s")
                message = self.take(passing=True)
                if message.get("kind") == "refused":
                    raise NoMemory(str(message["message"]))
        finally:
            self.attach = attach
        return grown[0]

    def close(self) -> None:
        self.socket.close()
