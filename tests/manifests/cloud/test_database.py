"""The schema, on SQLite and, where it is installed, on PostgreSQL."""

from __future__ import annotations

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
from .postgres import postgres

__all__ = ["postgres"]


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
