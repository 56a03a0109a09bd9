"""A fleet end to end, in processes of their own: one cloud, ten devices each streaming, a canary, a bad version, a reset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.cloud.postgres import postgres

from .nursery import ForkedDevice, Nursery
from .world import Cloud, Device, assert_contiguous, bundle, frames_read, wait_for

__all__ = ["postgres"]
COUNT = 10
WORK_MS = 95
"""About ten frames a second: twenty streams on two cores."""


def rolled_out(cloud: Cloud, version: str) -> dict[str, Any]:
    """A rollout of this version: two devices first, then all; how it ended."""
    body = {
        "cohort": "home", "item": f"business/level@{version}", "stages": ["2", "100%"], "minimum": 2, "success": 1.0, "abort": 0.0,
        "probation_s": 2.0,
    }  # fmt: skip
    return cloud.rolled_out(body)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def fleet(tmp_path: Path, cloud: Cloud, nursery: Nursery) -> Iterator[dict[str, Device]]:
    """Ten devices, let in and streaming version 1.0.0; 1.1.0 is a good one, 1.2.0 cannot be loaded."""
    factory = bundle(tmp_path, "1.0.0", op="test.frail", work_ms=WORK_MS, device=True)
    cloud.publish(factory)
    for version, config in (("1.1.0", "wait_s: 0.05"), ("1.2.0", "how: raise")):
        cloud.publish(bundle(tmp_path, version, op="test.frail", config=config, work_ms=WORK_MS))
    names = [f"porch-{number}" for number in range(COUNT)]
    made: dict[str, Device] = {}
    try:
        for name in names:
            made[name] = ForkedDevice(tmp_path, name, factory=factory, join=cloud.join(name, "home"), nursery=nursery).start()
        cloud.approve(names)
        for each in made.values():
            each.wait_version("1.0.0")
        yield made
    finally:
        for each in made.values():
            each.clean_up()


def all_went_well(devices: Mapping[str, Device], reset: str) -> None:
    """Every frame that was read has its result, across reloads and the reset of one device."""
    for each in devices.values():
        each.ask_to_stop()
    for name, each in devices.items():
        each.stop()
        rows = each.rows()
        assert_contiguous(rows)
        assert frames_read(each.said) == len(rows), f"{name}: what was read has its result"
        assert each.versions() == (["1.0.0", "1.1.0", "1.0.0"] if name == reset else ["1.0.0", "1.1.0"])


def goes_well(cloud: Cloud, devices: Mapping[str, Device]) -> None:
    """A canary that passes, a bad version that aborts by itself, and the reset of one device."""
    done = rolled_out(cloud, "1.1.0")
    assert (done["state"], done["devices"]) == ("done", {"done": COUNT}), done
    for each in devices.values():
        each.wait_version("1.1.0")

    aborted = rolled_out(cloud, "1.2.0")
    assert aborted["state"] == "aborted", aborted
    assert aborted["why"].startswith("2 of 2 devices that answered have failed: more than 0%; porch-")
    assert "asked not to open" in aborted["why"]
    assert aborted["devices"] == {"returned": 2, "waiting": COUNT - 2}
    reasons = {step["detail"] for name in devices for step in cloud.history(name) if step["outcome"] == "failed"}
    assert reasons
    assert all("asked not to open" in reason for reason in reasons), reasons

    first, *others = devices
    cloud.call("POST", "/v1/resets", {"devices": [first], "reason": "a test"})
    devices[first].wait_version("1.0.0")
    wait_for(lambda: cloud.active(first) == ["1.0.0"], lambda: cloud.query(first))
    assert all(cloud.active(name) == ["1.1.0"] for name in others)
    all_went_well(devices, first)
    audit = cloud.call("GET", "/v1/audit?limit=1000")
    assert audit["first_broken"] is None
    assert {"device.enrol", "rollout.create", "rollout.aborted", "reset"} <= {entry["action"] for entry in audit["entries"]}


@pytest.mark.timeout(400)
def test_a_canary_that_passes_a_bad_one_and_a_reset(cloud: Cloud, fleet: dict[str, Device]) -> None:
    goes_well(cloud, fleet)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("cloud", ["postgresql"], indirect=True)
def test_the_same_on_postgresql(cloud: Cloud, fleet: dict[str, Device]) -> None:
    goes_well(cloud, fleet)
