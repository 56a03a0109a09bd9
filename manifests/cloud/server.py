"""The process of `ace cloud`: the gateway's thread, and the HTTP server until a signal ends it."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from manifests.cloud.api import make_app
from manifests.cloud.service import Cloud


@dataclass(frozen=True, slots=True)
class Http:
    """Where to serve HTTP. With a certificate and its key (PEM) it is HTTPS."""

    host: str = "127.0.0.1"
    port: int = 8480
    certificate: Path | None = None
    key: Path | None = None


def bind(http: Http) -> socket.socket:
    """A listening socket. Raises OSError that names the address."""
    try:
        return socket.create_server((http.host, http.port), backlog=1024)
    except OSError as error:
        raise OSError(error.errno, f"cannot serve HTTP here: {error.strerror}", f"{http.host}:{http.port}") from None


def serve(cloud: Cloud, http: Http, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT, then ends in order."""
    import uvicorn

    config = uvicorn.Config(
        make_app(cloud),
        log_level="warning",
        access_log=False,
        ssl_certfile=http.certificate,
        ssl_keyfile=http.key,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        lifespan="off",
    )
    # The server raises the signal once more when it has ended in order; by then there is nothing left to end.
    signal.signal(signal.SIGTERM, lambda *_: None)
    cloud.start()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        cloud.stop()
