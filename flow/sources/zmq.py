"""Frames from another program over ZeroMQ, in the form that `flow.sources.wire` describes."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from flow.sources.contract import Picture, Probe, SourceAwayError, SourceError
from flow.sources.live import probe_live

SILENCE_S = 10.0
MAX_WAITING = 4
"""Messages that may wait in the socket; what comes while it is full is lost at the sender."""
MAX_BROKEN = 50


class ZmqSource:
    """`zmq:tcp://HOST:PORT` or `zmq:ipc://PATH`: subscribes to a `FramePublisher`, or to anything that sends the same messages.

    ZeroMQ authenticates nobody: use `ipc:` in a private folder, or a network that is yours.
    """

    scheme: ClassVar[str] = "zmq"

    @classmethod
    def probe(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        return probe_live(lambda: ZmqReader(uri, options, silence=5.0), options, "bgr24")

    @classmethod
    def open(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> ZmqReader:
        return ZmqReader(uri, options)


class ZmqReader:
    """An open subscription. `corrupt` counts the messages that are no frame.

    Silence for `silence` seconds (ten frame periods of a slow stream) is a SourceAwayError.
    """

    def __init__(self, uri: str, options: Mapping[str, Any], *, silence: float = SILENCE_S) -> None:
        import zmq

        from flow.sources.wire import MAX_MESSAGE

        address = endpoint(uri)
        self._uri = uri
        self._silence = max(silence, 10 / float(options.get("fps") or 25.0))
        self.fps: float | None = None
        self.corrupt = self._broken = 0
        self._reading, self._ending = threading.Lock(), threading.Lock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = self._ended = False
        self._socket: Any = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, MAX_WAITING)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wake, zmq.POLLIN)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self._free()
            raise SourceError(f"{uri}: expected an address to connect to, got: {error.strerror}") from None

    def read(self) -> Picture | None:
        import zmq

        with self._reading:
            try:
                while not self._closing and not self._ended:
                    if not self._poller.poll(int(self._silence * 1000)):
                        raise SourceAwayError(f"{self._uri}: expected frames, got none for {self._silence:g} s; is the sender running?")
                    if not self._closing and self._socket.poll(0, zmq.POLLIN) and (picture := self._receive()) is not None:
                        return picture
                return None
            finally:
                if self._closing:
                    self._free()

    def close(self) -> None:
        with self._ending:
            self._closing = True
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        if self._reading.acquire(blocking=False):  # else the waiting `read` frees it
            self._free()
            self._reading.release()

    def _receive(self) -> Picture | None:
        """The next message as a picture; None for the end, and for a message that is no frame."""
        from flow.sources.wire import WireError, unpack

        message = self._socket.recv(copy=False)
        while message.more:  # no frame has two parts; the last part alone is judged
            message = self._socket.recv(copy=False)
        now, mono = time.time_ns(), time.monotonic_ns()
        try:
            frame = unpack(message.buffer)
        except WireError as error:
            self.corrupt += 1
            self._broken += 1
            if self._broken >= MAX_BROKEN:
                raise SourceError(f"{self._uri}: {self._broken} messages in a row are no frames: {error}") from None
            return None
        self._broken = 0
        if frame is None:
            self._ended = True
            return None
        header, planes = frame
        self.fps = header.fps or self.fps
        return Picture(header.spec, planes, header.pts_ns, header.time_ns or now, mono)

    def _free(self) -> None:
        with self._ending:
            if self._wake >= 0:
                self._socket.close(0)
                os.close(self._wake)
                self._wake = -1


def endpoint(target: str) -> str:
    """ZeroMQ's address in a source or sink of the form `zmq:ADDRESS`. Raises SourceError."""
    address = target.removeprefix("zmq:")
    if not re.fullmatch(r"tcp://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._*-]+):(\d{1,5}|\*)|ipc://[^\s@]\S{0,105}", address):
        raise SourceError(f"{target}: expected zmq:tcp://HOST:PORT or zmq:ipc://PATH, got {address or 'no address'}")
    return address
