"""A rollout whose devices try a version out beside what runs, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .world import Cloud, Device, assert_contiguous, bundle

SHADOW = {"seconds": 3.0, "share": 0.5, "cpu": 64.0, "frames": 5, "agreement": 0.9}


def test_a_rollout_switches_only_what_agrees(tmp_path: Path, cloud: Cloud, device: Callable[..., Device]) -> None:
    factory = bundle(tmp_path, "1.0.0", op="test.frail", device=True)
    cloud.publish(factory)
    cloud.publish(bundle(tmp_path, "1.1.0", op="test.frail", config="wait_s: 0.01"))
    cloud.publish(bundle(tmp_path, "1.2.0", op="test.sum"))
    porch = device("porch", factory=factory, join=cloud.join("porch", "home"), workers="processes").start()
    cloud.approve(["porch"])
    porch.wait_version("1.0.0")

    def rolled_out(version: str) -> dict[str, Any]:
        body = {"cohort": "home", "item": f"business/level@{version}", "stages": ["1"], "abort": 0.0, "probation_s": 1.0, "shadow": SHADOW}
        return cloud.rolled_out(body, lambda: (cloud.history("porch"), porch.said))

    assert rolled_out("1.1.0")["state"] == "done"
    porch.wait_version("1.1.0")
    figures = next(step["evidence"]["shadow"] for step in cloud.history("porch") if "shadow" in step["evidence"])
    assert figures["outputs"]["level.levels"]["agreement"] == 1.0
    assert figures["memory_bytes"] > 0

    aborted = rolled_out("1.2.0")
    assert aborted["state"] == "aborted"
    assert "porch: level.levels: expected an agreement of at least 0.9, got 0" in aborted["why"]
    assert [step["state"] for step in cloud.history("porch") if step["revision"] == 3][-2:] == ["shadow", "failed"]
    porch.stop()
    assert_contiguous(porch.rows())
    assert porch.versions() == ["1.0.0", "1.1.0"]
