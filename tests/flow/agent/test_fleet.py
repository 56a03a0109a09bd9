"""A fleet end to end, in processes of their own: one cloud, ten devices each streaming, a canary, a bad version, a reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.cloud.postgres import postgres

from .world import Cloud, Device, assert_contiguous, bundle, frames_read, wait_for

__all__ = ["postgres"]
Make = Callable[..., Device]
Fleet = Callable[[int], dict[str, Device]]


def rolled_out(cloud: Cloud, version: str) -> dict[str, Any]:
    """A rollout of this version: two devices first, then all; how it ended."""
    body = {
        "cohort": "home", "item": f"business/level@{version}", "stages": ["2", "100%"], "minimum": 2, "success": 1.0, "abort": 0.0,
        "probation_s": 2.0,
    }  # fmt: skip
    return cloud.rolled_out(body)


@pytest.fixture
def fleet(tmp_path: Path, cloud: Cloud, device: Make) -> Fleet:
    """So many devices, let in and streaming version 1.0.0; 1.1.0 is a good one, 1.2.0 cannot be loaded."""

    def make(count: int) -> dict[str, Device]:
        factory = bundle(tmp_path, "1.0.0", op="test.frail", device=True)
        cloud.publish(factory)
        for version, config in (("1.1.0", "wait_s: 0.05"), ("1.2.0", "how: raise")):
            cloud.publish(bundle(tmp_path, version, op="test.frail", config=config))
        names = [f"porch-{number}" for number in range(count)]
        made = {name: device(name, factory=factory, join=cloud.join(name, "home")).start() for name in names}
        cloud.approve(names)
        for each in made.values():
            each.wait_version("1.0.0")
        return made

    return make


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


def reset(cloud: Cloud, each: Device) -> None:
    cloud.call("POST", "/v1/resets", {"devices": [each.name], "reason": "a test"})
    each.wait_version("1.0.0")
    wait_for(lambda: cloud.active(each.name) == ["1.0.0"], lambda: cloud.query(each.name))


@pytest.mark.timeout(400)
def test_a_canary_that_passes_a_bad_one_and_a_reset(cloud: Cloud, fleet: Fleet) -> None:
    devices = fleet(10)
    done = rolled_out(cloud, "1.1.0")
    assert (done["state"], done["devices"]) == ("done", {"done": 10}), done
    for each in devices.values():
        each.wait_version("1.1.0")

    aborted = rolled_out(cloud, "1.2.0")
    assert aborted["state"] == "aborted", aborted
    assert aborted["why"].startswith("2 of 2 devices that answered have failed: more than 0%; porch-")
    assert "asked not to open" in aborted["why"]
    assert aborted["devices"] == {"returned": 2, "waiting": 8}
    reasons = {step["detail"] for name in devices for step in cloud.history(name) if step["outcome"] == "failed"}
    assert reasons
    assert all("asked not to open" in reason for reason in reasons), reasons

    first, *others = devices
    reset(cloud, devices[first])
    assert all(cloud.active(name) == ["1.1.0"] for name in others)
    all_went_well(devices, first)
    audit = cloud.call("GET", "/v1/audit?limit=1000")
    assert audit["first_broken"] is None
    assert {"device.enrol", "rollout.create", "rollout.aborted", "reset"} <= {entry["action"] for entry in audit["entries"]}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("cloud", ["postgresql"], indirect=True)
def test_the_same_on_postgresql(cloud: Cloud, fleet: Fleet) -> None:
    devices = fleet(3)
    assert rolled_out(cloud, "1.1.0")["devices"] == {"done": 3}
    aborted = rolled_out(cloud, "1.2.0")
    assert (aborted["state"], aborted["devices"]) == ("aborted", {"returned": 2, "waiting": 1})
    reset(cloud, devices["porch-0"])
    all_went_well(devices, "porch-0")
