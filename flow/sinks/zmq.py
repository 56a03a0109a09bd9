"""Results to anybody who subscribes, over ZeroMQ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from flow.plan.value import Sink as SinkPlan
from flow.result import Result
from flow.sinks.contract import SinkError
from flow.sources.contract import SourceError
from flow.sources.zmq import endpoint
from ops.value import Image

MAX_WAITING = 1000
LINGER_MS = 1000


class ZmqPublisher:
    """`zmq:tcp://HOST:PORT` or `zmq:ipc://PATH`: a PUB socket bound there. A message has three parts:

        BUSINESS.OUTPUT.STREAM          the topic to subscribe to, whole or by its beginning
        BUSINESS.OUTPUT.STREAM/SEQ      the id: after a crash a result may come again, with the same one
        the row                         one JSON object

    A subscriber that is MAX_WAITING messages behind loses what follows until it has caught up; `lagged` counts how often that began
    (ZeroMQ tells no more). Who subscribes late has missed what went before. ZeroMQ authenticates nobody: bind to 127.0.0.1 unless the
    network is yours.
    """

    targets: ClassVar[tuple[str, ...]] = ("zmq:",)
    lasting: ClassVar[bool] = False  # what waits for subscribers dies with the worker
    wants: str = "result"

    @classmethod
    def check(cls, target: str) -> None:
        try:
            address = endpoint(target)
        except SourceError as error:
            raise SinkError(str(error)) from None
        if address.startswith("ipc://") and not Path(address.removeprefix("ipc://")).parent.is_dir():
            raise SinkError(f"{target}: expected a socket in a folder that exists, got no such folder")

    def __init__(self, plan: SinkPlan, fps: float) -> None:
        self._plan = plan
        self._socket: Any = None
        self.lagged = 0

    def open(self, *, resume: bool) -> Mapping[str, int]:
        import zmq

        self.check(self._plan.target)
        address = endpoint(self._plan.target)
        self._socket = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, MAX_WAITING)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        try:
            self._socket.bind(address)
            if address.startswith("ipc://"):
                Path(address.removeprefix("ipc://")).chmod(0o600)
        except (zmq.ZMQError, OSError) as error:
            self.close()
            raise SinkError(
                f"{self._plan.target}: expected an address that is free, got: {error.strerror}; every output needs one of its own"
            ) from None
        return {}

    def write(self, result: Result, picture: Image | None) -> None:
        import zmq

        topic = f"{result.business}.{result.output}.{result.stream}"
        parts = [topic.encode(), f"{topic}/{result.seq}".encode(), result.line()[:-1]]
        try:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
            self._socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            # Somebody is too far behind: the others get it all the same.
            self.lagged += 1
            self._socket.setsockopt(zmq.XPUB_NODROP, 0)
            self._socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.ZMQError as error:
            raise SinkError(f"{self._plan.target}: expected to send row {result.seq}, got: {error.strerror}") from None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
