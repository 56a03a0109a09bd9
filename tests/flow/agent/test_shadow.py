"""A version that devices try out beside what runs, asked for by a reload and by a rollout, in processes of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flow.cli.query import lines

from .world import COMMAND, Cloud, Device, assert_contiguous, bundle, environment

SHADOW = {"seconds": 2.0, "share": 0.5, "cpu": 64.0, "frames": 5, "agreement": 0.9}
REFUSED = "level.levels: expected an agreement of at least 0.9, got 0"


def test_only_what_agrees_is_switched_to(tmp_path: Path, cloud: Cloud, device: Callable[..., Device]) -> None:
    factory = bundle(tmp_path, "1.0.0", op="test.frail", device=True)
    cloud.publish(factory)
    cloud.publish(bundle(tmp_path, "1.1.0", op="test.frail", config="wait_s: 0.01"))
    cloud.publish(bundle(tmp_path, "1.2.0", op="test.sum"))
    porch = device("porch", factory=factory, join=cloud.join("porch", "home"), workers="processes").start()
    cloud.approve(["porch"])
    porch.wait_version("1.0.0")

    options = ["--shadow", "2", "--share", "0.5", "--cpu", "64", "--agreement", "0.9"]
    done = subprocess.run(
        [*COMMAND, "reload", "porch", "business/level@1.2.0", *options], capture_output=True, text=True, timeout=60,
        env=environment(ACE_CLOUD=cloud.address, ACE_TOKEN=cloud.token),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    step = cloud.wait_outcome("porch", int(done.stdout.split()[2]), "done", "failed")
    assert (step["outcome"], step["code"], step["state"]) == ("failed", "shadow", "failed")
    assert step["detail"].startswith(REFUSED)
    assert step["evidence"]["shadow"]["outputs"]["level.levels"]["frames"] >= 20
    said = lines(cloud.query("porch"), True, True)
    assert any(line.startswith("tried beside what runs: level.levels agrees 0.00 over ") for line in said), said

    def rolled_out(version: str) -> dict[str, Any]:
        body = {"cohort": "home", "item": f"business/level@{version}", "stages": ["1"], "abort": 0.0, "probation_s": 1.0, "shadow": SHADOW}
        return cloud.rolled_out(body, lambda: (cloud.history("porch"), porch.said))

    assert rolled_out("1.1.0")["state"] == "done"
    porch.wait_version("1.1.0")
    figures = [step["evidence"]["shadow"] for step in cloud.history("porch") if "shadow" in step["evidence"]][-1]
    assert figures["outputs"]["level.levels"]["agreement"] == 1.0
    assert figures["memory_bytes"] > 0

    aborted = rolled_out("1.2.0")
    assert aborted["state"] == "aborted"
    assert f"porch: {REFUSED}" in aborted["why"]
    last = max(step["revision"] for step in cloud.history("porch") if step["code"] == "shadow")
    assert [step["state"] for step in cloud.history("porch") if step["revision"] == last][-2:] == ["shadow", "failed"]
    porch.stop()
    assert_contiguous(porch.rows())
    assert porch.versions() == ["1.0.0", "1.1.0"]
