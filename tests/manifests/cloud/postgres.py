"""A PostgreSQL of the tests' own, where Debian's package (or another) is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PLACES = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"))


@pytest.fixture
def postgres() -> Iterator[str]:
    """A PostgreSQL of our own."""
    found = next((place for place in PLACES if (place / "initdb").exists()), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    # Not below pytest's folder, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="ace-postgres-"))
    as_other: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        as_other = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = folder / "data"
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    subprocess.run([*as_other, found / "initdb", "-D", data, "-U", "ace", "-A", "trust"], check=True, capture_output=True, cwd="/")
    control = [*as_other, str(found / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run([*control, "-o", settings, "-l", str(folder / "log"), "start"], check=True, capture_output=True, cwd="/")
    try:
        yield f"postgresql+psycopg://ace@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")
        shutil.rmtree(folder)
