"""One device over the air, as its user sees it: `ace cloud` and `ace agent` as processes, results in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flow.cli.query import lines
from manifests.sync.desired import DesiredBusiness, Item
from ops import catalog

from .world import OPERATORS, Cloud, Device, assert_contiguous, bundle, environment, frames_read, wait_for

Make = Callable[..., Device]


GOLDEN = "1.1.0"
SLOW, BLIND, BROKEN, DEADLY, WITHDRAWN = "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0"
VERSIONS: dict[str, dict[str, Any]] = {
    GOLDEN: {"op": "test.frail", "config": "wait_s: 0.1"},
    SLOW: {"op": "test.frail", "work_ms": 1000, "rate": 10},
    BLIND: {"op": "test.blind"},
    BROKEN: {"op": "test.frail", "config": "how: raise"},
    DEADLY: {"op": "test.trouble", "config": "every: 40, how: kill, once: false"},
    WITHDRAWN: {"op": "test.frail", "config": "wait_s: 0.2"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent")


@pytest.fixture(scope="module")
def factory(place: Path) -> Path:
    """Version 1.0.0, and the streams of the device."""
    return bundle(place, "1.0.0", op="test.frail", device=True)


@pytest.fixture(scope="module")
def operators() -> Iterator[None]:
    """The test operators in this process, to record a golden clip with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(OPERATORS))
        patch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
        catalog.forget()
        yield
    catalog.forget()


@pytest.fixture(scope="module")
def cloud(place: Path, factory: Path, operators: None) -> Iterator[Cloud]:
    """A cloud that has all versions."""
    made = Cloud(place)
    made.start()
    made.publish(factory)
    for version, what in VERSIONS.items():
        made.publish(bundle(place, version, golden=version == GOLDEN, **what))
    yield made
    made.stop()


@pytest.fixture
def enrolled(cloud: Cloud, device: Make, factory: Path) -> Make:
    """Makes a device that runs version 1.0.0 and is let in."""

    def make(name: str, **options: str) -> Device:
        made = device(name, factory=factory, join=cloud.join(name), **options).start()
        cloud.approve([name])
        made.wait_version("1.0.0")
        return made

    return make


def test_a_reload_over_the_air_loses_nothing(cloud: Cloud, enrolled: Make) -> None:
    porch = enrolled("porch")
    lock = porch.store / "locks" / "recorder"
    lock.write_text("on air")
    revision = cloud.reload("porch", GOLDEN, 2.0)
    waits = f"problem: an update waits: {lock} is there: on air"
    wait_for(lambda: waits in lines(cloud.query("porch"), True, True), lambda: porch.said)
    lock.unlink()
    step = cloud.wait_outcome("porch", revision, "done", "failed")
    assert step["outcome"] == "done", step
    wait_for(lambda: cloud.query("porch")["reported"]["revision"] == revision, lambda: cloud.query("porch")["reported"])
    assert cloud.active("porch") == [GOLDEN]
    known = cloud.query("porch")["reported"]["metadata"]
    assert known["targets"] == cloud.repository.targets().version
    said = lines(cloud.query("porch"), True, True)
    assert f"signed metadata: targets {known['targets']}, good until {known['expires']}, checked {known['checked']}" in said
    (ready,) = [step["evidence"] for step in cloud.history("porch") if step["state"] == "gate"]
    assert ready["compared"] == 8, "its golden clip was replayed before"
    porch.stop()
    rows = porch.rows()
    assert_contiguous(rows)
    assert porch.versions() == ["1.0.0", GOLDEN], "and nothing was switched while the lock was there"
    assert frames_read(porch.said) == len(rows), "a stop in order loses nothing that was read"


def test_bad_versions_go_back_by_themselves_and_the_cloud_is_told_why(cloud: Cloud, enrolled: Make) -> None:
    """One that cannot be loaded, one that is slow, one that finds nothing any more, one that kills its worker: one after the other."""
    garden = enrolled("garden", workers="processes")

    def tried(version: str) -> dict[str, Any]:
        # Enough has been found before, so that it can be told when that changes.
        count = len(garden.rows())
        wait_for(lambda: len(garden.rows()) > count + 80, lambda: garden.said)
        revision = cloud.reload("garden", version, 120.0)
        step = cloud.wait_outcome("garden", revision, "done", "failed")
        wait_for(lambda: cloud.active("garden") == ["1.0.0"], "the cloud knows that it runs the old version")
        garden.wait_version("1.0.0")
        return step

    step = tried(BROKEN)
    assert (step["outcome"], step["state"], step["code"]) == ("failed", "failed", "load"), step
    assert "asked not to open" in step["detail"]
    step = tried(SLOW)
    assert (step["outcome"], step["state"], step["code"]) == ("failed", "rolled_back", "rate"), step
    assert step["detail"].startswith("level.levels: expected at least ")
    step = tried(BLIND)
    assert (step["outcome"], step["state"], step["code"]) == ("failed", "rolled_back", "drift"), step
    assert step["detail"].endswith("(found 100% -> 0%)")
    step = tried(DEADLY)
    assert (step["outcome"], step["state"]) == ("failed", "rolled_back"), step
    # The second death is seen before the frame is set aside, or after it.
    assert (step["code"], step["detail"]) in {
        ("poison", "expected no frame to kill its worker twice, got 1"),
        ("restarts", "expected at most 1 worker(s) to die, got 2"),
    }
    garden.stop()
    rows = garden.rows()
    assert garden.versions() == ["1.0.0", SLOW, "1.0.0", BLIND, "1.0.0", DEADLY, "1.0.0"]
    found = {row["seq"] for row in rows}
    deadly = [seq for seq in range(0, rows[-1]["seq"], 40) if seq not in found]
    assert_contiguous(rows, deadly)
    set_aside = [int(seq) for seq in re.findall(r"frame (\d+) of front is set aside", garden.said)]
    assert deadly == set_aside, "of all frames, only those that killed a worker twice have no result"


def test_where_two_do_not_fit_the_old_one_ends_first(cloud: Cloud, enrolled: Make) -> None:
    """On a device of little memory: said beforehand, with the gap. A source that waits loses nothing."""
    attic = enrolled("attic", workers="processes", path=str(Path(__file__).parent / "little_memory"))
    revision = cloud.reload("attic", GOLDEN, 2.0)
    step = cloud.wait_outcome("attic", revision, "done", "failed")
    assert step["outcome"] == "done", step
    steps = {step["state"]: step["evidence"] for step in cloud.history("attic") if step["revision"] == revision}
    assert steps["gate"]["beside"] is False
    assert steps["gate"]["gap_s"] > 0
    assert steps["probation"]["switch"]["lost"] == 0
    told = f"does not fit beside what runs, which ends first: about {steps['gate']['gap_s']:.1f} s without results; it took "
    assert any(told in line and line.endswith(" s, 0 frames lost") for line in lines(cloud.query("attic"), True, True))
    attic.stop()
    rows = attic.rows()
    assert_contiguous(rows)
    assert attic.versions() == ["1.0.0", GOLDEN]
    assert frames_read(attic.said) == len(rows)


def test_a_stolen_server_is_refused_and_inference_goes_on(cloud: Cloud, enrolled: Make) -> None:
    """Whoever holds the server and its key asks for what they do not allow: each is refused with its reason, and frames flow."""
    yard = enrolled("yard")
    told = cloud.query("yard")
    running = DesiredBusiness.model_validate(told["reported"]["active"][0])
    fields = Item.model_fields
    items = {f"{row['kind']}/{row['version']}": Item(**{key: row[key] for key in fields}) for row in cloud.call("GET", "/v1/items")}
    cloud.repository.withdraw([f"business/level@{WITHDRAWN}"], datetime.now(UTC))

    def business(**changes: Any) -> dict[str, Any]:
        return {"active": (running.model_copy(update=changes),), "document": None}

    attacks: dict[str, dict[str, Any]] = {
        "tunable: a sink": business(set={"levels.sink": "zmq:tcp://elsewhere:1"}),
        "tunable: another stream": business(set={"front.source": "rtsp://elsewhere/1"}),
        "document": {**business(), "document": items["device/1.0.0"]},
        "digest": business(business=running.business.model_copy(update={"digest": "0" * 64})),
        "withdrawn": business(business=items[f"business/{WITHDRAWN}"]),
    }

    def refused() -> list[dict[str, Any]]:
        return [step for step in cloud.history("yard") if step["outcome"] == "refused"]

    for what, changes in attacks.items():
        count = len(refused())
        cloud.send_as_thief(told["id"], lambda present, changes=changes: present.model_copy(update=changes))  # type: ignore[misc]
        cloud.call("POST", "/v1/devices/yard/approve")  # so that it is offered at once
        wait_for(lambda count=count: len(refused()) > count, lambda what=what: (what, refused(), yard.said))  # type: ignore[misc]
        assert refused()[-1]["code"] == what.partition(":")[0]
        assert refused()[-1]["detail"]
    revision = cloud.reload("yard", GOLDEN, 1.0)
    assert cloud.wait_outcome("yard", revision, "done", "failed", "refused")["outcome"] == "done", "what is allowed is still done"
    yard.stop()
    assert_contiguous(yard.rows())
    assert yard.versions() == ["1.0.0", GOLDEN]
    assert frames_read(yard.said) == len(yard.rows())


def test_agent_and_engine_killed_on_probation(cloud: Cloud, enrolled: Make) -> None:
    hall = enrolled("hall")
    revision = cloud.reload("hall", "1.1.0", 12.0)
    hall.wait_state("probation")
    engine = hall.engine()
    hall.kill()
    count = len(hall.rows())
    wait_for(lambda: len(hall.rows()) > count + 20, "the engine goes on without its agent")
    hall.start()
    hall.wait_said("cloud: connected to")
    assert hall.engine() == engine, "and the next agent finds it"
    before = hall.rows()
    hall.kill_engine()
    wait_for(lambda: hall.engine() != engine and hall.versions() == ["1.1.0"], lambda: hall.said)
    step = cloud.wait_outcome("hall", revision, "done", "failed")
    assert step["outcome"] == "done", cloud.history("hall")
    hall.stop()
    assert_contiguous(hall.rows())
    older = hall.rows(hall.results.with_name(f"{hall.results.name}.1"))
    assert older[: len(before)] == before, "results of the engine that was killed lie beside those of the next one"
    assert_contiguous(older)
    steps = [step["state"] for step in cloud.history("hall") if step["revision"] == revision]
    assert steps.count("committed") == 1
    assert steps.count("probation") == 2, "the engine was given the release again"
