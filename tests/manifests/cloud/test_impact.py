"""What a change would do, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete
from typer.testing import CliRunner

from flow.cli.remote import foreseen
from flow.cli.rollout import rollout
from manifests.cloud import inventory, people
from manifests.cloud.library import Library
from manifests.cloud.people import Person
from manifests.cloud.service import Ask, Cloud
from manifests.cloud.tables import costs, rollouts, shadows
from manifests.sync.desired import Item
from manifests.sync.reported import Reported

from .fleet import ALL_BYTES, ROOT, RUNNING, make_cloud, populate, served

MIB = 1 << 20


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = make_cloud(tmp_path)
    yield made
    made.stop()


def report(cloud: Cloud, memory: dict[str, int], disk: int = 1 << 30) -> None:
    """These have so much memory left."""
    with cloud.database.write() as connection:
        states = {device: Reported(active=RUNNING, ram_bytes=free, disk_bytes=disk) for device, free in memory.items()}
        inventory.note_shadows(connection, states, 0.0)


def test_what_a_reload_would_do_is_known_before(cloud: Cloud) -> None:
    ids = populate(cloud, 10, online=7)
    report(cloud, dict.fromkeys(ids[:3], 10), disk=10)
    told = cloud.impact("reload", Ask(("model/detector@2.0.0",), cohort="home"))
    assert told["businesses"] == {"door": 10}
    assert told["kept"] == {"pet": "business/pet@1.0.0 takes detector@^1"}
    counts = {key: told[key]["count"] for key in ("touched", "lacks_ram", "lacks_disk", "offline", "held")}
    assert counts == {"touched": 10, "lacks_ram": 3, "lacks_disk": 3, "offline": 3, "held": 0}
    assert told["lacks_ram"]["devices"] == ["home-0", "home-1", "home-2"]
    assert told["download_bytes"] > 0
    assert cloud.impact("reload", Ask(("model/detector@2.0.0",), cohort="home", all=True))["refused"]
    with cloud.database.read() as connection:
        assert not any(state.revision for state in inventory.wanted(connection, ids).values()), "nothing was sent"


def test_who_must_end_the_old_one_first_and_for_how_long_is_known_before(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """door takes 300 + 50 MiB with the new model, and gives back 200 with the old one."""
    ids = populate(cloud, 5)
    report(cloud, {ids[0]: 350 * MIB, ids[1]: 349 * MIB, ids[2]: 150 * MIB, ids[3]: 149 * MIB})
    cloud.download(ROOT, Ask(("model/detector@1.0.0",), device=ids[4]))
    with cloud.database.write() as connection:
        connection.execute(delete(shadows).where(shadows.c.device == ids[4]))

    def sizes(_: Library, item: Item) -> dict[str, int]:
        return {item.digest: 100_000_000} if item.selector == "model/detector@2.0.0" else {}

    monkeypatch.setattr(Library, "sizes", sizes)
    told = cloud.impact("reload", Ask(("model/detector@2.0.0",), cohort="home"))
    assert told["sequential"] == {"count": 2, "devices": ["home-1", "home-2"]}
    assert told["lacks_ram"] == {"count": 1, "devices": ["home-3"]}
    assert told["refused"] == {}
    assert told["unreported"]["count"] == 1
    assert told["gap_s"] == 3.0, "a second to start, and 100 MB at 50 MB/s"
    assert told["without_figures"] == []
    foreseen(told)
    said = capsys.readouterr().out
    assert "2 do not hold old and new at once: the old one ends first, up to about 3.0 s without results: home-1, home-2\n" in said
    assert "1 lack memory for the new one: home-3\n" in said


def test_a_rollout_is_foreseen_by_command(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    report(cloud, dict.fromkeys(populate(cloud, 3), 200 * MIB))
    with cloud.database.write() as connection:
        monkeypatch.setenv("ACE_TOKEN", people.create(connection, "test", "vera", "viewer"))
    with served(cloud) as (host, port):
        arguments = ["create", "model/detector@2.0.0", "--cohort", "home", "--impact", "--cloud", f"http://{host}:{port}"]
        done = CliRunner().invoke(rollout, arguments)
    assert done.exit_code == 0, done.output
    assert "3 do not hold old and new at once: the old one ends first, up to about 1.0 s without results" in done.output
    with cloud.database.read() as connection:
        assert connection.execute(rollouts.select()).first() is None


def test_what_no_bundle_says_the_memory_of_is_named(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    [device] = populate(cloud, 1)
    told = cloud.impact("reload", Ask(("model/detector@1.1.0",), device=device))
    assert told["without_figures"] == [f"business/{name}@1.0.0 with model/detector@1.1.0" for name in ("door", "pet")]
    report(cloud, {device: MIB})
    told = cloud.impact("reload", Ask(("model/detector@1.1.0",), device=device))
    assert told["sequential"]["count"] == 1, "a MiB each, as the model says"
    foreseen(told)
    assert "needs more memory than is counted: business/door@1.0.0 with model/detector@1.1.0" in capsys.readouterr().out


def test_what_only_comes_or_only_goes_makes_no_gap(cloud: Cloud) -> None:
    [device] = populate(cloud, 1)
    report(cloud, {device: 0})
    for verb, what in (("remove", "business/door"), ("download", "model/detector@2.0.0")):
        told = cloud.impact(verb, Ask((what,), device=device))
        assert (told["sequential"]["count"], told["lacks_ram"]["count"], told["gap_s"]) == (0, 0, 0.0)


def test_figures_are_those_that_were_uploaded_last(cloud: Cloud, tmp_path: Path) -> None:
    """A cloud of an earlier version learns them when a bundle is uploaded again."""
    with cloud.database.write() as connection:
        connection.execute(delete(costs))
    bundle = tmp_path / "again.ace"
    bundle.write_bytes(ALL_BYTES)
    assert cloud.upload(Person("olga", "operator"), bundle) == []
    with cloud.database.read() as connection:
        assert sorted(connection.execute(costs.select()).scalars("ram_bytes")) == [200 * MIB] * 3 + [300 * MIB]
