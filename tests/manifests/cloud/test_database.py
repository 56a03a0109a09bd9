"""The schema, on SQLite and, where it is installed, on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from manifests.cloud import inventory
from manifests.cloud.database import Database, sqlite_url
from manifests.cloud.service import Ask
from manifests.cloud.tables import devices, metadata

from .fleet import ROOT, Device, make_cloud, wait_for

PLACES = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin"))


def drift(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_the_migrations_make_the_tables(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path))
    database.upgrade()
    database.upgrade()
    assert drift(database) == []
    database.close()


def test_what_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path))
    database.upgrade()
    row = {"id": "1" * 64, "name": "d", "cohort": "c", "state": "approved", "about": "{}", "enrolled": 0.0, "revision": 0}

    def fail() -> None:
        with database.write() as connection:
            connection.execute(devices.insert().values(**row))
            raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail()
    with database.read() as connection:
        assert connection.execute(select(devices)).first() is None
    database.close()


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


def test_postgresql_serves_as_well(postgres: str, tmp_path: Path) -> None:
    cloud = make_cloud(tmp_path, database=postgres)
    cloud.start()
    device = Device(tmp_path, cloud, "kitchen")
    try:
        assert drift(cloud.database) == []
        device.enrol()
        done = cloud.reload(ROOT, Ask(("model/detector@2.0.0",), device="kitchen"))
        assert done["businesses"] == ["door"]
        wait_for(lambda: [step["outcome"] for step in cloud.query("kitchen")["history"]] == ["done"], "the reload is done")
        cloud.reset(ROOT, ["kitchen"], "", "a test")
        wait_for(lambda: device.epoch == 1, "the reset is done")

        def online() -> bool:
            with cloud.database.read() as connection:
                return inventory.online(connection, [device.keys.name]) == {device.keys.name}

        wait_for(online, "the device is seen")
    finally:
        device.stop()
        cloud.stop()
