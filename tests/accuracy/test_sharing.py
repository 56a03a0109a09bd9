"""Two businesses on one stream and model: one inference a frame, and results equal to those of each business run apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

FRAMES = 60
OWN = ("plan", "latency_ms")


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Callable[..., tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Runs the businesses of these names in one plan; every row, and the report."""
    import flow
    import manifests

    (tmp_path / "yolox_nano.onnx").write_bytes((data / "models" / "yolox_nano.onnx").read_bytes())
    documents = list(yaml.safe_load_all((Path(__file__).parent / "manifests" / "sharing.yaml").read_text()))

    def run(*names: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        path = tmp_path / f"{'-'.join(names)}.yaml"
        path.write_text(yaml.safe_dump_all([one for one in documents if one["kind"] == "Model" or one["name"] in names], sort_keys=False))
        plan = flow.make_plan(manifests.load(path, bind={"camera": str(data / "videos" / "pet_dog.mp4")}))
        with flow.Executor(plan, frames=FRAMES) as running:
            rows = [{key: value for key, value in result.row().items() if key not in OWN} for result in running.results()]
        return rows, running.report()

    return run


def test_one_inference_a_frame_and_equal_results(run: Callable[..., Any]) -> None:
    together, report = run("pets", "things")
    pets, _ = run("pets")
    things, _ = run("things")
    inferences = [node for node in report["nodes"].values() if node["op"] == "nn.infer"]
    assert [(node["runs"], node["calls"], node["businesses"]) for node in inferences] == [(FRAMES, FRAMES, ["pets", "things"])]
    assert [row for row in together if row["business"] == "pets"] == pets
    assert [row for row in together if row["business"] == "things"] == things
    assert len(pets) == len(things) == FRAMES
    assert any(row["detections"] for row in pets)
