from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the server keeps its database, blobs and keys.")]
Trust = Annotated[
    Path | None,
    typer.Option("--trust", metavar="DIR", help="The signed repository, of `ace trust init` (default: DIR/trust).", show_default=False),
]
Listen = Annotated[str, typer.Option("--listen", metavar="tcp://HOST:PORT", help="Where devices connect.")]
Http = Annotated[str, typer.Option("--http", metavar="HOST:PORT", help="Where the HTTP API is served.")]
Database = Annotated[
    str,
    typer.Option("--database", metavar="URL", envvar="ACE_DATABASE", help="Another database: postgresql+psycopg://…", show_default=False),
]
Certificate = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate (PEM).", show_default=False)
]
Key = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's private key (PEM).", show_default=False)]


def cloud(
    folder: Folder = Path("ace-cloud"),
    trust: Trust = None,
    listen: Listen = "tcp://127.0.0.1:8481",
    http: Http = "127.0.0.1:8480",
    database: Database = "",
    tls_cert: Certificate = None,
    tls_key: Key = None,
) -> None:
    """Run the cloud server: devices over ZeroMQ, people over HTTP."""
    from flow.cli.failure import WRONG_INPUT, failures

    try:
        import fastapi  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError:
        print("ace cloud needs more packages: pip install 'ace-engine[cloud]'", file=sys.stderr)
        raise typer.Exit(WRONG_INPUT) from None
    host, _, port = http.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter(f"expected HOST:PORT, as in 127.0.0.1:8480; got {http!r}", param_hint="'--http'")
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("expected --tls-cert and --tls-key together")
    repository = trust or folder / "trust"
    if not (repository / "metadata").is_dir():
        raise typer.BadParameter(
            f"{repository}: expected a signed repository; make one with `ace trust init {repository}`", param_hint="'--trust'"
        )
    with failures():
        from manifests.cloud import server
        from manifests.cloud.service import Cloud

        address = server.Http(host, int(port), tls_cert, tls_key)
        listener = server.bind(address)
        service = Cloud(folder, repository, endpoint=listen, database=database)
        first = service.first_person()
        print(f"devices: {service.gateway.endpoint}  key {service.keys.name}")
        print(f"people:  {'https' if tls_cert else 'http'}://{host}:{listener.getsockname()[1]}  (OpenAPI: /openapi.json)")
        if first:
            print(f"admin token, shown this once: {first}")
        sys.stdout.flush()
        server.serve(service, address, listener)
