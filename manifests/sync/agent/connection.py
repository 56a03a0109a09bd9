"""The device's connection to the cloud: a DEALER over CURVE that comes back by itself, and a `Session` that says what to send."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Protocol

from manifests.sync.agent.session import Outbox, Self, Session, Times
from manifests.sync.channel.curve import KeyPair, z85_text
from manifests.sync.channel.messages import MAX_BYTES, Offer
from manifests.sync.channel.wake import Wake

if TYPE_CHECKING:
    import zmq


AGAIN_S = 600.0
"""An offer that the reconciler has refused is given to it again after this long: what it lacked may be there by then."""


class Reconciler(Self, Protocol):
    """Who makes the device what the cloud wants. Every call returns at once."""

    def offer(self, document: bytes) -> None:
        """A signed desired state. It is verified there; a refusal becomes a transition in the outbox."""


class Read(Protocol):
    """Gets a desired state that was too long for a message; raises OSError where it cannot."""

    def __call__(self, offer: Offer, token: str) -> bytes: ...


class Connection:
    """Carries offers to the reconciler and reports to the cloud until `stop`. Not having a network is no failure."""

    def __init__(
        self,
        endpoint: str,
        cloud_key: bytes,
        keys: KeyPair,
        reconciler: Reconciler,
        outbox: Outbox,
        *,
        read: Read,
        token: str | None = None,
        times: Times | None = None,
    ) -> None:
        import zmq

        self.session = Session(outbox, reconciler, token=token, times=times)
        self._reconciler, self._read = reconciler, read
        self._fetch: Offer | None = None
        self._fetch_at = self._try_at = 0.0
        self._tried = ""
        self._stopped = self._renew = False
        self._wake = Wake()
        self._context = zmq.Context()
        self._socket = dealer(self._context, cloud_key, keys)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._socket.connect(endpoint)

    def stop(self) -> None:
        """From any thread."""
        self._stopped = True
        self.wake()

    def wake(self) -> None:
        """There is something new to say. From any thread."""
        self._wake.set()

    def token(self) -> str:
        """The newest token for HTTP; empty where there has been none yet. From any thread."""
        return self.session.http_token

    def renew(self) -> None:
        """Asks for a newer token. From any thread."""
        self._renew = True
        self.wake()

    def run(self) -> None:
        """Talks until `stop`, then closes."""
        import zmq

        poller = zmq.Poller()
        for each in (self._socket, self._monitor, self._wake.descriptor):
            poller.register(each, zmq.POLLIN)
        try:
            while not self._stopped:
                now = time.monotonic()
                for message in self.session.due(now):
                    try:
                        self._socket.send(message, zmq.NOBLOCK)
                    except zmq.Again:
                        break
                ready = dict(poller.poll(int(1000 * self._wait(now)) + 1))
                if self._wake.descriptor in ready:
                    self._wake.clear()
                    self._hear_wake()
                if self._monitor in ready:
                    self._watch()
                if self._socket in ready:
                    self._receive()
                self._carry()
        finally:
            self._socket.disable_monitor()
            self._context.destroy(linger=0)
            self._wake.close()

    def _wait(self, now: float) -> float:
        until_fetch = max(0.0, self._fetch_at - now) if self._fetch else 60.0
        return min(self.session.wait(now), until_fetch)

    def _hear_wake(self) -> None:
        if self._renew:
            self._renew = False
            self.session.greet(time.monotonic())

    def _watch(self) -> None:
        import zmq
        from zmq.utils.monitor import recv_monitor_message

        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.session.connected(time.monotonic())
            else:
                self.session.disconnected()

    def _receive(self) -> None:
        import zmq

        try:
            while True:
                self.session.received(self._socket.recv(zmq.NOBLOCK), time.monotonic())
        except zmq.Again:
            return

    def _carry(self) -> None:
        """Gives the newest offer to the reconciler."""
        now = time.monotonic()
        for offer in self.session.offers():
            tried = offer.digest == self._tried and now < self._try_at
            if not tried and (self._fetch is None or offer.revision > self._fetch.revision):
                self._fetch, self._fetch_at = offer, 0.0
        if self._fetch is None or now < self._fetch_at:
            return
        offer = self._fetch
        if offer.document is not None:
            document = offer.document.encode()
        else:
            try:
                document = self._read(offer, self.session.http_token)
            except OSError:
                self._fetch_at = now + self.session.times.last_retry
                self.session.greet(now)
                return
        self._fetch = None
        self._tried, self._try_at = offer.digest, now + AGAIN_S
        self._reconciler.offer(document)


def dealer(context: zmq.Context[zmq.Socket[bytes]], cloud_key: bytes, keys: KeyPair) -> zmq.Socket[bytes]:
    """A DEALER that knows the cloud by its key, sets no identity, and comes back after 1 to 60 s, jittered."""
    import zmq

    socket = context.socket(zmq.DEALER)
    first = random.randrange(500, 1500)
    options = {
        zmq.MAXMSGSIZE: MAX_BYTES,
        zmq.RECONNECT_IVL: first,
        zmq.RECONNECT_IVL_MAX: 60_000,
        zmq.HEARTBEAT_IVL: 15_000,
        zmq.HEARTBEAT_TIMEOUT: 45_000,
        zmq.HANDSHAKE_IVL: 60_000,
        zmq.SNDHWM: 100,
        zmq.RCVHWM: 100,
        zmq.LINGER: 0,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    socket.curve_serverkey = z85_text(cloud_key)
    socket.curve_publickey = z85_text(keys.public)
    socket.curve_secretkey = z85_text(keys.secret)
    return socket
