"""One device over the air, as its user sees it: `ace cloud` and `ace agent` as processes, results in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops import catalog

from .world import OPERATORS, Cloud, Device, assert_contiguous, bundle, environment, frames_read, wait_for

Make = Callable[..., Device]


GOLDEN = "1.1.0"
VERSIONS = {
    "1.1.0": ("test.frail", "wait_s: 0.1"),
    "1.2.0": ("test.trouble", "every: 40, how: kill, once: false"),
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
    for version, (op, config) in VERSIONS.items():
        made.publish(bundle(place, version, op=op, config=config, golden=version == GOLDEN))
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
    revision = cloud.reload("porch", "1.1.0", 2.0)
    step = cloud.wait_outcome("porch", revision, "done", "failed")
    assert step["outcome"] == "done", step
    wait_for(lambda: cloud.query("porch")["reported"]["revision"] == revision, lambda: cloud.query("porch")["reported"])
    assert cloud.active("porch") == ["1.1.0"]
    (ready,) = [step["evidence"] for step in cloud.history("porch") if step["state"] == "gate"]
    assert ready["compared"] == 8, "its golden clip was replayed before"
    porch.stop()
    rows = porch.rows()
    assert_contiguous(rows)
    assert porch.versions() == ["1.0.0", "1.1.0"]
    assert frames_read(porch.said) == len(rows), "a stop in order loses nothing that was read"


def test_a_version_that_ends_its_worker_goes_back_by_itself(cloud: Cloud, enrolled: Make) -> None:
    garden = enrolled("garden", workers="processes")
    revision = cloud.reload("garden", "1.2.0", 60.0)
    step = cloud.wait_outcome("garden", revision, "done", "failed")
    assert (step["outcome"], step["state"]) == ("failed", "rolled_back"), step
    # The second death is seen before the frame is set aside, or after it.
    assert (step["code"], step["detail"]) in {
        ("poison", "expected no frame to kill its worker twice, got 1"),
        ("restarts", "expected at most 1 worker(s) to die, got 2"),
    }
    wait_for(lambda: cloud.active("garden") == ["1.0.0"], "the cloud knows that it runs the old version again")
    count = len(garden.rows())
    wait_for(lambda: len(garden.rows()) > count + 20, "results go on coming")
    garden.stop()
    rows = garden.rows()
    assert garden.versions() == ["1.0.0", "1.2.0", "1.0.0"]
    assert_contiguous(rows, [seq for seq in range(0, rows[-1]["seq"], 40) if seq not in {row["seq"] for row in rows}])
    assert len(rows) + 2 > rows[-1]["seq"], "of all frames, only those that killed a worker twice have no result"


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
