"""The cloud's end: one ROUTER, its own ZAP handler, and a desk that knows devices.

Who a peer is, its key says (`User-Id`, set by the handshake), never a routing id: peers that set one are not heard, so nobody can take
another's place. The desk is asked about every single message: a key that was revoked is not heard again, and its connection ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from manifests.sync.channel.curve import KeyPair, z85_text
from manifests.sync.channel.guard import Bucket, Descriptors, Door, hang_up
from manifests.sync.channel.hoard import Hoard
from manifests.sync.channel.messages import MAX_BYTES, NOBODY, Ack, Body, Envelope, FromCloud, Refused, WireError, decode, encode
from manifests.sync.channel.wake import Wake

log = logging.getLogger(__name__)

ZAP = "inproc://zeromq.zap.01"
BATCH = 256
ASSIGNED = 5
"""Length of the routing ids that libzmq assigns: a zero, and a number of 32 bits that no peer is told."""
SILENT_S = 60.0
"""How often a device says something when it has nothing to say."""
Standing = Literal["approved", "pending", "revoked", "unknown"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Per device: `rate` messages a second, `burst` at once; a long one counts as one for each KiB. `strangers`: the same for all unknown
    keys together.
    """

    rate: float = 20.0
    burst: float = 1000.0
    strangers: tuple[float, float] = (50.0, 200.0)
    reserve: int | None = None
    """Descriptors that are kept free; None: an eighth, at most 1024."""
    descriptors: int | None = None
    """How many this process may have open; None: as many as the system lets it."""
    silence_s: float = 60.0
    """A connection whose other end has not even acknowledged anything for so long is closed."""
    handshake_s: float = 60.0
    """Longer than it takes to let a whole fleet in that comes at once: what is cut off in the queue only comes again."""
    queue: int = 100
    """Messages that may wait for one peer, each way."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of a device that may speak."""

    device: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say to the sender of one message. `ack` is the number up to which the outbox `session` is safe."""

    bodies: tuple[FromCloud, ...] = ()
    session: str = NOBODY
    ack: int = 0


class Desk(Protocol):
    """What the gateway asks. All calls come from the gateway's thread."""

    def standing(self, device: str) -> Standing:
        """Looked up in memory: asked for every message."""

    def enrolling(self) -> bool:
        """Whether unknown keys may connect now."""

    def enrol(self, device: str, envelope: Envelope) -> Answer:
        """The one message that an unknown or pending key may send."""

    def handle(self, batch: Sequence[Incoming]) -> list[Answer]:
        """Applies messages durably, all or none; one answer for each. An exception means that nothing was applied."""

    def changed(self, devices: Sequence[str]) -> None:
        """What was remembered of these no longer holds."""

    def wanted(self, devices: Sequence[str]) -> dict[str, FromCloud]:
        """What to push to these, where there is something."""

    def tick(self, connected: int) -> None:
        """Called about once a second."""


@dataclass(slots=True)
class Peer:
    """A connection that has said hello."""

    routing: bytes
    descriptor: int
    heard: float


@dataclass
class Counts:
    """What passed, and what did not and why."""

    received: int = 0
    sent: int = 0
    handshakes: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1


class _Rejected(Exception):
    """A message that counts for nothing. `answer` goes to its sender."""

    def __init__(self, why: str, answer: Refused | None = None) -> None:
        super().__init__(why)
        self.why, self.answer = why, answer


class Gateway:
    """Serves devices on `endpoint` until `stop`. Raises OSError where it cannot listen there."""

    def __init__(self, desk: Desk, endpoint: str, keys: KeyPair, limits: Limits | None = None) -> None:
        import zmq

        self.desk, self.limits, self.counts = desk, limits or Limits(), Counts()
        self.peers: dict[str, Peer] = {}
        self._descriptors = Descriptors(self.limits.reserve, self.limits.descriptors)
        self._changed: set[str] = set()
        self._ending: list[int] = []
        self._lock = threading.Lock()
        self._stopped = False
        self._wake = Wake()
        self._buckets: dict[str, Bucket] = {}
        self._strangers = Bucket(*self.limits.strangers, time.monotonic())
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 64)
        self._zap = self._context.socket(zmq.ROUTER)
        self._zap.bind(ZAP)
        self._router = self._context.socket(zmq.ROUTER)
        # The kernel looks for ends that are gone: libzmq's own heartbeats would keep a timer for each connection, and to cancel one it goes
        # through all there are, so that each of N devices would cost time in proportion to N.
        options = {
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: max(1, int(self.limits.silence_s / 2)),
            zmq.TCP_KEEPALIVE_INTVL: max(1, int(self.limits.silence_s / 6)),
            zmq.TCP_MAXRT: int(1000 * self.limits.silence_s),
            zmq.HANDSHAKE_IVL: int(1000 * self.limits.handshake_s),
            zmq.CURVE_SERVER: 1,
            zmq.ROUTER_MANDATORY: 1,
            zmq.MAXMSGSIZE: MAX_BYTES,
            zmq.RCVHWM: self.limits.queue,
            zmq.SNDHWM: self.limits.queue,
            zmq.BACKLOG: 1024,
            zmq.LINGER: 0,
        }
        for option, value in options.items():
            self._router.setsockopt(option, value)
        self._router.curve_secretkey = z85_text(keys.secret)
        self._router.zap_domain = b"ace"
        try:
            self._router.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            self._wake.close()
            raise OSError(error.errno, f"devices cannot be served here: {error.strerror}", endpoint) from None
        self.endpoint = bytes(self._router.getsockopt(zmq.LAST_ENDPOINT)).decode().rstrip("\0")
        self._port = int(self.endpoint.rpartition(":")[2])
        self._door = Door(self._port)
        self._hoard = Hoard(self._port)

    def notify(self, devices: Iterable[str]) -> None:
        """Something changed for these: a new desired state, a revocation. From any thread."""
        with self._lock:
            self._changed.update(devices)
        self._wake.set()

    def stop(self) -> None:
        """Ends `run` and closes the connections. From any thread."""
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Serves; returns after `stop`."""
        import zmq

        poller = zmq.Poller()
        for each in (self._zap, self._router, self._wake.descriptor):
            poller.register(each, zmq.POLLIN)
        second = time.monotonic()
        try:
            while not self._stopped:
                ready = dict(poller.poll(250))
                if self._zap in ready:
                    self._admit()
                if self._wake.descriptor in ready:
                    self._wake.clear()
                    self._push()
                if self._router in ready:
                    self._serve()
                if time.monotonic() >= second:
                    second = time.monotonic() + 1
                    self._listen()
                    self._hoarded()
                    self._hang_up()
                    self._forget(second - 4 * SILENT_S)
                    self.desk.tick(len(self.peers))
        finally:
            self.close()

    def close(self) -> None:
        """Closes the sockets. After `run` has returned."""
        self._door.close()
        self._context.destroy(linger=0)
        self._wake.close()

    def _listen(self) -> None:
        """Takes no new connections while descriptors are short."""
        before, room = self._descriptors.open, self._descriptors.check()
        self._door.keep(room)
        if before and not room:
            log.warning("file descriptors are short: no new connections")
            self.counts.refuse("descriptors")
        elif room and not before:
            log.warning("there are file descriptors again: new connections are taken")

    def _hoarded(self) -> None:
        """Ends connections that have filled the memory."""
        for descriptor in self._hoard.greedy():
            self.counts.refuse("hoard")
            self._ending.append(descriptor)

    def _hang_up(self) -> None:
        """Ends connections, of keys that were revoked a moment after they were told why."""
        ending, self._ending = self._ending, []
        for descriptor in ending:
            hang_up(descriptor, self._port)

    def _forget(self, before: float) -> None:
        """Those that were not heard since may say hello again. What they left open is closed, unless somebody else has it by now."""
        silent = [device for device, peer in self.peers.items() if peer.heard < before]
        left = {self.peers.pop(device).descriptor for device in silent}
        for device in silent:
            self._buckets.pop(device, None)
        if left:
            self._ending += left - {peer.descriptor for peer in self.peers.values()}

    def _admit(self) -> None:
        """Answers ZAP requests (https://rfc.zeromq.org/spec/27)."""
        import zmq

        for _ in range(BATCH):
            try:
                frames = self._zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(frames) < 8 or frames[2] != b"1.0":
                continue
            envelope, request, mechanism, key = frames[:2], frames[3], frames[7], frames[-1]
            device = key.hex() if mechanism == b"CURVE" and len(key) == 32 else ""
            standing = self.desk.standing(device) if device else "revoked"
            status = b"200"
            if standing == "revoked" or not self._descriptors.open or (standing == "unknown" and not self._stranger()):
                status = b"400"
                self.counts.refuse("handshake")
            self.counts.handshakes += 1
            self._zap.send_multipart([*envelope, b"1.0", request, status, b"", device.encode(), b""])

    def _stranger(self) -> bool:
        return self.desk.enrolling() and self._strangers.take(time.monotonic())

    def _serve(self) -> None:
        """Takes what has come, applies it in one transaction, and answers."""
        import zmq

        batch: list[Incoming] = []
        places: list[bytes] = []
        for _ in range(BATCH):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            self.counts.received += 1
            incoming = self._accept(frames)
            if incoming is not None:
                batch.append(incoming)
                places.append(frames[0].bytes)
        if not batch:
            return
        for place, incoming, answer in zip(places, batch, self._apply(batch), strict=True):
            self._reply(place, incoming.envelope, answer)

    def _accept(self, frames: Sequence[Any]) -> Incoming | None:
        """The message, where its sender may send it; what is refused is counted, and answered where that helps."""
        try:
            return self._judge(frames)
        except _Rejected as rejected:
            self.counts.refuse(rejected.why)
            if rejected.answer is not None:
                self._send(frames[0].bytes, encode(rejected.answer))
            return None

    def _judge(self, frames: Sequence[Any]) -> Incoming | None:
        import zmq

        routing = frames[0].bytes
        if len(frames) != 2 or len(routing) != ASSIGNED or routing[:1] != b"\0":
            raise _Rejected("frames")
        device: str = frames[1]["User-Id"]
        now = time.monotonic()
        standing = self.desk.standing(device)
        if standing == "revoked":
            self._end(device, Peer(routing, frames[1].get(zmq.SRCFD), now))
            raise _Rejected("revoked")
        if not self._bucket(device, standing, now).take(now, max(1.0, len(frames[1]) / 1024)):
            raise _Rejected("rate")
        try:
            envelope = decode(frames[1].bytes)
        except WireError as error:
            raise _Rejected("message", Refused(reason=str(error))) from None
        kind = envelope.body.type
        if kind == "enrol":
            self._reply(routing, envelope, self.desk.enrol(device, envelope))
            return None
        if standing != "approved":
            raise _Rejected("standing", Refused(reason="this device is not approved: a person must do it", retry_s=30))
        if kind == "hello":
            self.peers[device] = Peer(routing, frames[1].get(zmq.SRCFD), now)
        elif kind not in {"heartbeat", "report", "shadow"}:
            raise _Rejected("direction")
        elif device not in self.peers or self.peers[device].routing != routing:
            raise _Rejected("hello", Refused(reason="this connection has not said hello", retry_s=0, hello=True))
        self.peers[device].heard = now
        return Incoming(device, envelope)

    def _bucket(self, device: str, standing: Standing, now: float) -> Bucket:
        """One for each device that is let in, one for all others together."""
        if standing != "approved":
            return self._strangers
        return self._buckets.setdefault(device, Bucket(self.limits.rate, self.limits.burst, now))

    def _end(self, device: str, peer: Peer) -> None:
        """Ends the connection of a key that was revoked."""
        self.peers.pop(device, None)
        self._send(peer.routing, encode(Refused(reason="this key was revoked", retry_s=3600)))
        self._ending.append(peer.descriptor)

    def _apply(self, batch: list[Incoming]) -> list[Answer]:
        """One transaction for all; where that fails, one for each: one message cannot stop the others. What fails is not acknowledged."""
        try:
            return self.desk.handle(batch)
        except Exception:
            log.exception("%d messages could not be applied together", len(batch))
        answers = []
        for incoming in batch:
            try:
                answers += self.desk.handle([incoming])
            except Exception:
                log.exception("a message of %s could not be applied", incoming.device)
                self.counts.refuse("failed")
                answers.append(Answer((Refused(reason="the cloud could not store this message; send it again", retry_s=30),)))
        return answers

    def _reply(self, routing: bytes, envelope: Envelope, answer: Answer) -> None:
        bodies: tuple[Body, ...] = answer.bodies or ((Ack(),) if answer.ack else ())
        for body in bodies:
            self._send(routing, encode(body, session=answer.session, seq=envelope.seq, ack=answer.ack))

    def _push(self) -> None:
        """Tells those that are connected what changed for them."""
        with self._lock:
            changed, self._changed = self._changed, set()
        self.desk.changed(sorted(changed))
        connected = [device for device in changed if device in self.peers]
        for device in connected:
            if self.desk.standing(device) != "approved":
                self._end(device, self.peers[device])
        for start in range(0, len(connected), BATCH):
            for device, body in self.desk.wanted(connected[start : start + BATCH]).items():
                if device in self.peers:
                    self._send(self.peers[device].routing, encode(body))

    def _send(self, routing: bytes, data: bytes) -> None:
        """Sends without waiting. A peer that is gone or does not read misses it: it says hello, or a heartbeat, and hears it then."""
        import zmq

        try:
            self._router.send_multipart([routing, data], zmq.NOBLOCK)
            self.counts.sent += 1
        except zmq.Again:
            self.counts.refuse("slow")
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.counts.refuse("gone")
