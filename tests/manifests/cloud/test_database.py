"""The schema, on SQLite and, where it is installed, on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from manifests.cloud import inventory, participants, rollout
from manifests.cloud.database import MIGRATIONS, Database, sqlite_url
from manifests.cloud.rollout import Spec, Tools
from manifests.cloud.service import Ask
from manifests.cloud.tables import devices, metadata
from manifests.cloud.tables import participants as table
from manifests.sync.reported import Transition

from .fleet import ROOT, Device, make_cloud, populate, wait_for
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


def begun_before_places_were_drawn(database: Database) -> None:
    """The first schema, with a rollout on its way."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO rollouts VALUES (7, 'home', '{}', 'running', 0, '', 'olga', 0)"))
        for number in range(5):
            key, state = f"{number:064}", "sent" if number == 3 else "waiting"
            connection.execute(text(f"INSERT INTO devices VALUES ('{key}', 'd{number}', 'home', 'approved', '{{}}', 0, 0)"))
            connection.execute(text(f"INSERT INTO participants VALUES (7, '{key}', 0, '{state}', 0, 0, 0)"))


def goes_on(database: Database) -> None:
    """Everybody has a place, and is counted."""
    database.upgrade()
    assert drift(database) == []
    with database.read() as connection:
        assert participants.counts(connection, 7) == {"waiting": 4, "sent": 1}
        places = connection.execute(select(table.c.place)).scalars()
        assert sorted(places) == list(range(5))
        drawn = list(connection.execute(select(table.c.device).order_by(table.c.place)).scalars())
    with database.write() as connection:
        connection.execute(text("DELETE FROM participants"))
        connection.execute(text("DELETE FROM tallies"))
        participants.draw(connection, 7, drawn[::-1])
        assert list(connection.execute(select(table.c.device).order_by(table.c.place)).scalars()) == drawn


def test_a_rollout_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path))
    begun_before_places_were_drawn(database)
    goes_on(database)
    database.close()


def test_postgresql_serves_as_well(postgres: str, tmp_path: Path) -> None:
    older = Database(postgres)
    begun_before_places_were_drawn(older)
    goes_on(older)
    with older.write() as connection:
        for name in ("participants", "tallies", "rollouts", "devices"):
            connection.execute(text(f"DELETE FROM {name}"))
    older.close()
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
        populate(cloud, 12, online=9)
        number = cloud.begin(ROOT, Spec(cohort="home", item="model/detector@1.1.0", stages=("2", "100%")))
        tools = Tools(cloud.sign, cloud._planned, cloud._base)

        def ended() -> bool:
            with cloud.database.write() as connection:
                rollout.advance(connection, tools)  # as the cloud itself does meanwhile: either may send
                said = Transition(revision=2, outcome="done", state="committed", at=datetime.now(UTC))
                everybody = connection.execute(select(table.c.device)).scalars()
                rollout.heard(connection, [(each, said) for each in everybody])
                return rollout.find(connection, number).state == "done"

        wait_for(ended, "the rollout is done")
        with cloud.database.read() as connection:
            assert participants.counts(connection, number) == {"done": 12}
    finally:
        device.stop()
        cloud.stop()
