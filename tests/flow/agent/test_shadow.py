"""A version that devices try out beside what runs, asked for by a reload and by a rollout, in processes of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from flow.cli.query import lines

from .world import COMMAND, Cloud, Device, assert_contiguous, bundle, environment

BUSINESS = """\
apiVersion: ace/v1
kind: Business
name: level
version: {version}
inputs: {{camera: image, side: image}}
graph:
  level: {{op: test.level, in: {{image: camera}}, config: {{work_ms: {work_ms}}}}}
  after: {{op: {op}, in: {{points: level}}, config: {{{config}}}}}
  other: {{op: test.level, in: {{image: side}}}}
  meet: {{op: test.mix, in: {{first: after, second: other}}}}
outputs: {{levels: after, meets: meet}}
goals: {{rate: {rate}, latency_ms: 60000}}
"""
"""One output of one stream, and one that joins two."""
DEVICE = """\
apiVersion: ace/v1
kind: Device
name: porch
streams:
  front: {source: "stamps:frames=1000000&fps=20"}
  side: {source: "stamps:frames=1000000&fps=8&width=48"}
businesses: [{use: level@^1, bind: {camera: front, side: side}}]
"""
SHADOW = {"seconds": 3.0, "share": 0.5, "cpu": 64.0, "frames": 5, "agreement": 0.9}
REFUSED = [f"level.{output}: expected an agreement of at least 0.9, got 0" for output in ("levels", "meets")]


def test_only_what_agrees_is_switched_to(tmp_path: Path, cloud: Cloud, device: Callable[..., Device]) -> None:
    made = partial(bundle, tmp_path, manifests=(BUSINESS, DEVICE))
    factory = made("1.0.0", op="test.frail", device=True)
    cloud.publish(factory)
    cloud.publish(made("1.1.0", op="test.frail", config="wait_s: 0.01"))
    cloud.publish(made("1.2.0", op="test.sum"))
    meets = tmp_path / "meets.jsonl"
    options: Any = {"join": cloud.join("porch", "home"), "workers": "processes", "more": ("--out", f"meets={meets}")}
    porch = device("porch", factory=factory, **options).start()
    cloud.approve(["porch"])
    porch.wait_version("1.0.0")

    asked = ["--shadow", "3", "--share", "1", "--cpu", "64", "--agreement", "0.9"]
    done = subprocess.run(
        [*COMMAND, "reload", "porch", "business/level@1.2.0", *asked], capture_output=True, text=True, timeout=60,
        env=environment(ACE_CLOUD=cloud.address, ACE_TOKEN=cloud.token),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    step = cloud.wait_outcome("porch", int(done.stdout.split()[2]), "done", "failed")
    assert (step["outcome"], step["code"], step["state"]) == ("failed", "shadow", "failed")
    assert all(reason in step["detail"] for reason in REFUSED)
    assert min(output["frames"] for output in step["evidence"]["shadow"]["outputs"].values()) >= 20
    said = lines(cloud.query("porch"), True, True)
    for output in ("levels", "meets"):
        assert any(line.startswith(f"tried beside what runs: level.{output} agrees 0.0") for line in said), said
    assert any(line.startswith("  it took ") for line in said), said

    def rolled_out(version: str) -> dict[str, Any]:
        body = {"cohort": "home", "item": f"business/level@{version}", "stages": ["1"], "abort": 0.0, "probation_s": 1.0, "shadow": SHADOW}
        return cloud.rolled_out(body, lambda: (cloud.history("porch"), porch.said))

    assert rolled_out("1.1.0")["state"] == "done"
    porch.wait_version("1.1.0")
    figures = [step["evidence"]["shadow"] for step in cloud.history("porch") if "shadow" in step["evidence"]][-1]
    assert {name: output["agreement"] for name, output in figures["outputs"].items()} == {"level.levels": 1.0, "level.meets": 1.0}
    assert figures["memory_bytes"] > 0

    aborted = rolled_out("1.2.0")
    assert aborted["state"] == "aborted"
    assert f"porch: {REFUSED[0]}" in aborted["why"]
    last = max(step["revision"] for step in cloud.history("porch") if step["code"] == "shadow")
    assert [step["state"] for step in cloud.history("porch") if step["revision"] == last][-2:] == ["shadow", "failed"]
    porch.stop()
    assert_contiguous(porch.rows())
    assert_contiguous(porch.rows(meets))
    assert porch.versions() == ["1.0.0", "1.1.0"]
