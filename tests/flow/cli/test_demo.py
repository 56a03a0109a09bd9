from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow.cli.demo import figures, shared
from flow.cli.figures import Rates

Ace = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_demo_ends_by_itself_and_leaves_videos(ace: Ace, tmp_path: Path) -> None:
    import av

    done = ace("demo", "--frames", "20", "--out", "seen.mp4")
    assert done.returncode == 0, done.stderr
    assert "home: 20 frames read" in done.stderr
    assert "desk: 20 frames read" in done.stderr
    assert "annotated video: seen.mp4, seen-desk.mp4" in done.stderr
    assert done.stdout == ""
    for name in ("seen.mp4", "seen-desk.mp4"):
        with av.open(str(tmp_path / name)) as video:
            assert next(video.decode(video=0)).width == 640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["motion.yaml", "seen-desk.mp4", "seen.mp4"]


def test_one_inference_serves_two_businesses(ace: Ace) -> None:
    done = ace("demo", "--frames", "20")
    said = [line for line in done.stderr.splitlines() if line.endswith("inferences, each of them for gesture and pet")]
    assert len(said) == 1, done.stderr
    assert 0 < int(said[0].split()[0]) <= 20


def test_a_video_that_cannot_be_written_is_refused(ace: Ace) -> None:
    for name, said in (("nowhere/seen.mp4", "nowhere"), ("seen.txt", ".mp4")):
        done = ace("demo", "--frames", "5", "--out", name)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def snapshot() -> dict[str, Any]:
    latency = {"p50": 20.0, "p99": 30.0, "max": 31.0}
    return {
        "wall_seconds": 1.0,
        "streams": {"home": {"in": 30, "out": 29, "dropped": {"home": {"latest": 1}}}},
        "nodes": {
            "a1": {"op": "nn.infer", "names": [], "businesses": ["gesture", "pet", "home-view"], "runs": 29, "errors": 0},
            "a2": {"op": "nn.infer", "names": [], "businesses": ["pet", "home-view"], "runs": 29, "errors": 0},
        },
        "outputs": {
            "pet": {"pets": {"results": 29, "latency_ms": latency}},
            "home-view": {"picture": {"results": 29, "latency_ms": latency}},
        },
    }


def test_live_figures_show_businesses_and_their_last_result(snapshot: dict[str, Any], tmp_path: Path) -> None:
    from rich.console import Console

    (tmp_path / "pets.jsonl").write_text('{"detections":[{"box":[0,0,1,1],"score":0.9,"label":"[cat]","class_id":0,"track":3}]}\n')
    rates = Rates()
    rates.look(snapshot)
    console = Console(width=100, record=True, force_terminal=False, file=(tmp_path / "out.txt").open("w"))
    with console.file:
        console.print(figures(snapshot, rates, {"pet.pets": tmp_path / "pets.jsonl"}))
    text = console.export_text()
    assert "[cat] #3 0.90" in text
    assert "home-view" not in text
    assert "home: 0 frames a second, 1 drop" in text


def test_only_inferences_that_serve_several_businesses_are_told(snapshot: dict[str, Any]) -> None:
    assert shared(snapshot) == ["29 inferences, each of them for gesture and pet"]
