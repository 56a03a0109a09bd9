"""The `zmq` carrier: a PAIR of sockets a link, over ipc in a private folder, or over tcp."""

from __future__ import annotations

import contextlib
import struct

import zmq

INDEX = struct.Struct("<Q")
ACK = struct.Struct("<QQ")


def _socket(context: zmq.Context[zmq.Socket[bytes]], limit: int) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.PAIR)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 0)  # credits bound what is under way; a full socket must never block a worker
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 2)
    socket.setsockopt(zmq.MAXMSGSIZE, limit + 1024)  # the limit covers ZeroMQ's own handshake, too
    return socket


class ZmqSender:
    """Binds the address: it speaks only once the receiver has greeted, and a PAIR that nobody has joined cannot send."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self._socket = _socket(context, ACK.size)
        self._socket.bind(address)
        self.durable = 0
        self.done = 0

    def unfinished(self) -> list[tuple[int, bytes]] | None:
        return None

    def stirs(self) -> bool:
        """The socket wakes the worker."""
        return False

    def send(self, index: int, data: bytes) -> None:
        with contextlib.suppress(zmq.Again):  # the receiver is gone: its successor gets the entry over a new link
            self._socket.send(INDEX.pack(index) + data, zmq.DONTWAIT)

    def poll(self) -> bool:
        changed = False
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            try:
                message = self._socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                break
            if len(message) == ACK.size:
                received, done = ACK.unpack(message)
                self.durable, self.done = max(self.durable, received), max(self.done, done)
                changed = True
        return changed

    @property
    def waitable(self) -> object:
        return self._socket

    def close(self) -> None:
        self._socket.close()


class ZmqReceiver:
    """Connects to the sender's address. `limit` bounds the bytes of one entry."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, limit: int) -> None:
        self._socket = _socket(context, limit + INDEX.size)
        self._socket.connect(address)

    def receive(self) -> tuple[int, memoryview] | None:
        try:
            message = memoryview(self._socket.recv(zmq.DONTWAIT))
        except zmq.Again:
            return None
        return INDEX.unpack_from(message)[0], message[INDEX.size :]

    def stirs(self) -> bool:
        """The socket wakes the worker."""
        return False

    def acknowledge(self, received: int, done: int) -> None:
        with contextlib.suppress(zmq.Again):  # the sender is gone: its successor is told when a new link is opened
            self._socket.send(ACK.pack(received, done), zmq.DONTWAIT)

    @property
    def waitable(self) -> object:
        return self._socket

    def close(self) -> None:
        self._socket.close()
