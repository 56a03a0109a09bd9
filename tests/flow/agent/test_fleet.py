"""A fleet end to end, in processes of their own: one cloud, ten devices each streaming, a canary, a bad version, a reset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.cloud.postgres import postgres

from .world import Cloud, Device, assert_contiguous, bundle, frames_read, wait_for

__all__ = ["postgres"]
Make = Callable[..., Device]
TEN = tuple(f"porch-{number}" for number in range(10))


@pytest.fixture(params=["sqlite", "postgresql"])
def cloud(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """A cloud, on each of both databases."""
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else ""
    made = Cloud(tmp_path, url)
    made.start()
    yield made
    made.stop()


def rolled_out(cloud: Cloud, version: str, *states: str) -> dict[str, Any]:
    """A rollout of this version: two devices first, then all; how it ended."""
    body = {
        "cohort": "home", "item": f"business/level@{version}", "stages": ["2", "100%"], "minimum": 2, "success": 1.0, "abort": 0.0,
        "probation_s": 2.0,
    }  # fmt: skip
    number = cloud.call("POST", "/v1/rollouts", body)["id"]

    def show() -> dict[str, Any]:
        found: dict[str, Any] = cloud.call("GET", f"/v1/rollouts/{number}")
        return found

    wait_for(lambda: show()["state"] in states, show)
    return show()


def test_a_canary_that_passes_a_bad_one_and_a_reset(tmp_path: Path, cloud: Cloud, device: Make) -> None:
    fleet = TEN if not cloud.database else TEN[:3]
    factory = bundle(tmp_path, "1.0.0", op="test.frail", device=True)
    cloud.publish(factory)
    for version, config in (("1.1.0", "wait_s: 0.05"), ("1.2.0", "how: raise")):
        cloud.publish(bundle(tmp_path, version, op="test.frail", config=config))
    devices = {name: device(name, factory=factory, join=cloud.join(name, "home")).start() for name in fleet}
    cloud.approve(fleet)
    for each in devices.values():
        each.wait_version("1.0.0")

    done = rolled_out(cloud, "1.1.0", "done", "paused", "aborted")
    assert (done["state"], done["devices"]) == ("done", {"done": len(fleet)}), done
    for each in devices.values():
        each.wait_version("1.1.0")

    aborted = rolled_out(cloud, "1.2.0", "done", "paused", "aborted")
    assert aborted["state"] == "aborted", aborted
    assert aborted["why"].startswith("2 of 2 devices that answered have failed: more than 0%; porch-")
    assert "asked not to open" in aborted["why"]
    assert aborted["devices"] == {"returned": 2, "waiting": len(fleet) - 2}
    reasons = {step["detail"] for name in fleet for step in cloud.history(name) if step["outcome"] == "failed"}
    assert reasons
    assert all("asked not to open" in reason for reason in reasons), reasons

    first, *others = fleet
    cloud.call("POST", "/v1/resets", {"devices": [first], "reason": "a test"})
    devices[first].wait_version("1.0.0")
    wait_for(lambda: cloud.active(first) == ["1.0.0"], lambda: cloud.query(first))
    assert all(cloud.active(name) == ["1.1.0"] for name in others)

    for each in devices.values():
        each.stop()
    for name, each in devices.items():
        rows = each.rows()
        assert_contiguous(rows)
        assert frames_read(each.said) == len(rows), f"{name}: what was read has its result"
        assert each.versions() == (["1.0.0", "1.1.0", "1.0.0"] if name == first else ["1.0.0", "1.1.0"])
    audit = cloud.call("GET", "/v1/audit?limit=1000")
    assert audit["first_broken"] is None
    assert {"device.enrol", "rollout.create", "rollout.aborted", "reset"} <= {entry["action"] for entry in audit["entries"]}
