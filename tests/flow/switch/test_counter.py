"""A tracker and a line counter below a detector that is reloaded: tracks keep their numbers, and the count goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from flow.plan.value import Plan
from manifests import examples

from .conftest import in_order, live_plan, running

pytestmark = pytest.mark.usefixtures("operators")

FRAMES = 64
RELOADS = (18, 34)
"""Before these pictures the camera waits until a reload is staged; then it is slow until that is done."""
BUSINESS = """\
apiVersion: ace/v1
kind: Business
name: gate
version: 1.0.0
inputs: {camera: image}
models: {detector: scenes@^1}
graph:
  boxes: {op: detect.yolox, in: {image: camera}, model: detector, config: {score: 0.1, iou: 0.5, classes: [cat, dog]}}
  pets: {op: track.byte, in: {detections: boxes}}
  crossings: {op: count.line, in: {detections: pets}, config: {line: [[160, 180], [160, 0]], margin: 2}}
outputs: {pets: pets, crossings: crossings.event}
"""


def release(folder: Path, number: int, source: str, workers: Any = "processes") -> Plan:
    """The same in another file of the detector, which is another model: it is loaded anew."""
    place = folder / str(number)
    (place / "models").mkdir(parents=True)
    (place / "gate.yaml").write_text(BUSINESS)
    shutil.copyfile(Path(examples.path()) / "scenes.yaml", place / "scenes.yaml")
    model = onnx.load(Path(examples.path()) / "models" / "scenes.onnx")
    model.doc_string = f"release {number}"
    onnx.save(model, place / "models" / "scenes.onnx")
    return live_plan(place / "gate.yaml", place / "scenes.yaml", bind={"camera": source}, workers=workers)


def test_a_line_counter_below_a_reloaded_detector_counts_on(tmp_path: Path) -> None:
    camera = f"gated:{tmp_path}?at={','.join(map(str, RELOADS))}&seed=4&size=320x180&fps=10&rate=max&frames={FRAMES}"
    plans = [release(tmp_path, number, camera) for number in range(2)]
    alone = release(tmp_path, 2, camera, "threads")
    slow = tmp_path / "slow"

    def rows(*, reload: bool) -> dict[str, list[dict[str, Any]]]:
        with running(plans[0] if reload else alone) as (run, reader):
            for number, picture in enumerate(RELOADS if reload else (), 1):
                reader.wait_for("gate.pets", picture)
                run.stage(plans[number % 2], timeout_s=60)
                slow.touch()
                (tmp_path / str(picture)).touch()
                proof = run.switch(timeout_s=60)
                slow.unlink()
                assert {"gate.pets", "gate.crossings"} <= {*proof.carried, *proof.kept}
                assert {name.partition(" ")[0] for name in proof.added} == {"gate.boxes"}
                assert (proof.added, proof.reset, proof.lost) == (proof.removed, {}, 0)
        for results in reader.results.values():
            in_order(results, FRAMES)
        found[reload] = [result.plan for result in reader.results["gate.pets"]]
        return {output: [said(result.row()) for result in results] for output, results in reader.results.items()}

    found: dict[bool, list[str]] = {}
    reloaded = rows(reload=True)
    assert reloaded == rows(reload=False)
    changes = [place for place in range(1, FRAMES) if found[True][place] != found[True][place - 1]]
    assert len(changes) == len(RELOADS)
    crossings = [(row["seq"], event["value"]) for row in reloaded["gate.crossings"] for event in row["event"]]
    assert [value for _, value in crossings] == [1, 2]
    assert crossings[0][0] < changes[0] < changes[-1] <= crossings[1][0], "one before the first reload, one after the last"


def said(row: dict[str, Any]) -> dict[str, Any]:
    """Without what tells two runs, or two plans, apart."""
    return {key: value for key, value in row.items() if key not in ("plan", "latency_ms", "time")}
