"""The process of `ace cloud`: the gateway's thread, and the HTTP server until a signal ends it."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from manifests.cloud.api import make_app
from manifests.cloud.limits import HttpLimits, network
from manifests.cloud.service import Cloud

ASK_S = 20.0
"""How long a connection may be silent, or say no more than half a request, before it has asked anything."""
MOST_SHARE = 0.25
"""Of the descriptors that this process may have: connections over HTTP. What devices need is left to them."""
MOST_OF_ONE = 0.25
"""Of these: connections of one address."""


@dataclass(frozen=True, slots=True)
class Http:
    """Where to serve HTTP. With a certificate and its key (PEM) it is HTTPS."""

    host: str = "127.0.0.1"
    port: int = 8480
    certificate: Path | None = None
    key: Path | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)


def bind(http: Http) -> socket.socket:
    """A listening socket. Raises OSError that names the address."""
    try:
        return socket.create_server((http.host, http.port), backlog=1024)
    except OSError as error:
        raise OSError(error.errno, f"cannot serve HTTP here: {error.strerror}", f"{http.host}:{http.port}") from None


class Bounded(H11Protocol):
    """A connection that must ask something soon, and one of no more than leave room for those of devices."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = network(self.client[0]) if self.client else ""
        self._of_addresses()[self._address] += 1
        most = MOST_SHARE * resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if len(self.connections) > most or self._of_addresses()[self._address] > MOST_OF_ONE * most:
            transport.abort()
        else:
            self.loop.call_later(ASK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        counts = self._of_addresses()
        counts[self._address] -= 1
        if not counts[self._address]:
            del counts[self._address]
        super().connection_lost(exc)

    def _of_addresses(self) -> Counter[str]:
        """How many connections each address has, on this server."""
        counts: Counter[str] = vars(self.server_state).setdefault("of_addresses", Counter())
        return counts

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # what is still on its way must come to an end before the answer can be read everywhere
            self.loop.call_later(ASK_S, self._end, self.cycle)

    def _end(self, answered: object) -> None:
        if self.cycle is answered and self.conn.their_state is h11.SEND_BODY:
            self.transport.abort()

    def _look(self) -> None:
        request: object | None = self.cycle
        if request is None and not self.transport.is_closing():
            self.transport.abort()


def configuration(cloud: Cloud, http: Http) -> uvicorn.Config:
    """How the HTTP server serves this cloud."""
    return uvicorn.Config(
        make_app(cloud, http.limits),
        http=Bounded,
        ws="none",
        log_level="warning",
        access_log=False,
        ssl_certfile=http.certificate,
        ssl_keyfile=http.key,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        lifespan="off",
    )


def serve(cloud: Cloud, http: Http, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, then ends in order."""
    # The server raises the signal once more when it has ended in order; by then there is nothing left to end.
    signal.signal(signal.SIGTERM, lambda *_: None)
    cloud.start()
    try:
        uvicorn.Server(configuration(cloud, http)).run(sockets=[listener])
    finally:
        cloud.stop()
