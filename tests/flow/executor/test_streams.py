"""Streams in a run: long files, live sources under load, pictures that change size, pictures that are passed on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flow
import manifests

pytestmark = pytest.mark.usefixtures("operators")

Clip = Callable[..., Path]
Business = Callable[..., Path]


def test_ten_thousand_frames_through_three_processes(clip: Clip, business: Business) -> None:
    graph = """
    level: {op: test.level, in: {image: camera}}
    count: {op: test.count, in: {points: level}}
    """
    plan = flow.make_plan(
        manifests.load(business(graph, {"count": "count", "level": "level"}), bind={"camera": str(clip(10_000))}),
        workers="processes",
        cores=2,
    )
    with flow.Executor(plan) as run:
        values = [(result.seq, result.event[0]["value"]) for result in run.results("count")]
    assert values == [(seq, seq + 1) for seq in range(10_000)]
    assert run.leaked_slots == 0


def live_device(path: Path, source: str, overload: str) -> Path:
    path.write_text(
        path.read_text()
        + f"""---
apiVersion: ace/v1
kind: Device
name: here
streams: {{front: {{source: "{source}", overload: {overload}}}}}
businesses: [{{use: probe, bind: {{camera: front}}}}]
"""
    )
    return path


@pytest.mark.parametrize(("overload", "cause"), [("latest", "latest"), ("drop_oldest", "drop_oldest")])
@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_a_live_source_twice_as_fast_as_the_pipeline(business: Business, overload: str, cause: str, workers: Any, cores: int) -> None:
    """50 frames a second meet an operator that takes 40 ms: the newest come through, every drop is counted where it happened."""
    graph = "level: {op: test.level, in: {image: camera}, config: {work_ms: 40}}"
    path = live_device(business(graph, {"level": "level"}), "synthetic:pen?fps=50&frames=150&size=160x120&rate=live", overload)
    plan = flow.make_plan(manifests.load(path), workers=workers, cores=cores)
    with flow.Executor(plan) as run:
        results = list(run.results("level"))
    report = run.report()
    stream = report["streams"]["front"]
    dropped = sum(sum(causes.values()) for causes in stream["dropped"].values())
    assert stream["in"] == 150
    assert len(results) + dropped == 150
    assert dropped > 30
    assert {name for causes in stream["dropped"].values() for name in causes} == {cause}
    assert [result.seq for result in results] == sorted({result.seq for result in results})
    service_ms = next(iter(report["nodes"].values()))["busy_ms"] / len(results)
    bound = plan.frames_in_flight["probe.level"] + 1
    assert max(result.latency_ms for result in results) <= bound * service_ms * 1.5 + 100
    assert run.leaked_slots == 0


def test_a_camera_loses_nothing_while_it_waits_for_a_slower_one(business: Business) -> None:
    """Each of its frames waits to know which one of the slower camera was the latest; the others wait behind it, and do not give way."""
    graph = """
    front: {op: test.look, in: {image: camera}}
    side: {op: test.look, in: {image: other}}
    both: {op: test.mix, in: {first: front, second: side}}
    """
    path = business(graph, {"both": "both"}, inputs=("camera", "other"))
    bind = {"camera": "stamps:frames=60&fps=20&live=1", "other": "stamps:frames=20&fps=4&live=1&width=48"}
    plan = flow.make_plan(manifests.load(path, bind=bind), workers="threads", cores=2)
    with flow.Executor(plan) as run:
        results = [result.seq for result in run.results("both")]
    dropped = sum(run.report()["streams"]["camera"]["dropped"].get("camera", {}).values())
    assert len(results) + dropped == 60
    assert len(results) > 45


def test_every_third_frame(clip: Clip, business: Business) -> None:
    path = live_device(business("level: {op: test.level, in: {image: camera}}", {"level": "level"}), str(clip(60)), "{every: 3}")
    plan = flow.make_plan(manifests.load(path))
    with flow.Executor(plan) as run:
        assert [result.seq for result in run.results("level")] == list(range(0, 60, 3))
    assert run.report()["streams"]["front"]["dropped"] == {"front": {"every": 40}}


def pictures(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """A folder of flat pictures, level 10 * (number + 1), of these sizes."""
    import cv2

    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.full((height, width, 3), 10 * (number + 1), np.uint8))
    return folder


def growing(path: Path) -> Path:
    """A video whose pictures grow in the middle: two Motion JPEG streams one after the other."""
    import cv2

    with path.open("wb") as out:
        for number in range(20):
            size = (48, 64, 3) if number < 10 else (480, 640, 3)
            done, data = cv2.imencode(".jpg", np.full(size, 50 + number, np.uint8))
            assert done
            out.write(data.tobytes())
    return path


@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_a_folder_of_pictures_of_all_sizes(business: Business, tmp_path: Path, workers: Any, cores: int) -> None:
    folder = pictures(tmp_path / "pictures", [(64, 48), (640, 480), (31, 57), (320, 240)])
    plan = flow.make_plan(
        manifests.load(business("level: {op: test.level, in: {image: camera}}", {"level": "level"}), bind={"camera": str(folder)}),
        workers=workers, cores=cores,
    )  # fmt: skip
    with flow.Executor(plan) as run:
        assert [round(result.points[0]["point"][0]) for result in run.results("level")] == [10, 20, 30, 40]


@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_a_video_whose_size_grows_midway(business: Business, tmp_path: Path, workers: Any, cores: int) -> None:
    """The pool was sized by the first picture: larger slots are made while the run goes on, and no frame is lost."""
    graph = """
    bright: {op: test.tint, in: {image: camera}}
    level: {op: test.level, in: {image: bright}}
    count: {op: test.count, in: {points: level}}
    """
    plan = flow.make_plan(
        manifests.load(business(graph, {"level": "level", "count": "count"}), bind={"camera": str(growing(tmp_path / "clip.mjpeg"))}),
        workers=workers, cores=cores,
    )  # fmt: skip
    with flow.Executor(plan) as run:
        results = list(run.results("level"))
    assert [result.seq for result in results] == list(range(20))
    assert results[15].points[0]["point"][0] > results[5].points[0]["point"][0]
    assert run.failed is None
    assert run.leaked_slots == 0


def test_a_picture_that_memory_cannot_hold_is_counted_and_said(business: Business, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = business("level: {op: test.level, in: {image: camera}}", {"level": "level"})
    plan = flow.make_plan(
        manifests.load(path, bind={"camera": str(growing(tmp_path / "clip.mjpeg"))}), workers="processes", cores=2,
    )  # fmt: skip
    monkeypatch.setattr("flow.plan.admit.available_memory", lambda: 100_000)
    with flow.Executor(plan) as run:
        assert [result.seq for result in run.results("level")] == list(range(10))
    report = run.report()
    assert report["streams"]["camera"]["dropped"] == {"camera": {"memory": 10}}
    assert "got 100000 available" in report["problems"][0]


@pytest.mark.parametrize(("workers", "cores"), [("threads", 1), ("processes", 2)])
def test_a_camera_that_vanishes_and_returns(business: Business, tmp_path: Path, workers: Any, cores: int) -> None:
    """Numbers and times go on where they stopped, and the report counts the reconnect."""
    path = live_device(business("level: {op: test.level, in: {image: camera}}", {"level": "level"}), f"flaky:{tmp_path}/mark", "latest")
    events: list[dict[str, Any]] = []
    with flow.Executor(flow.make_plan(manifests.load(path), workers=workers, cores=cores), on_event=events.append) as run:
        results = list(run.results("level"))
    stream = run.report()["streams"]["front"]
    assert [event["message"] for event in events if event["event"] == "stream_lost"] == [
        "stream front: the camera was unplugged; trying again"
    ]
    assert stream["in"] == 20
    assert stream["reconnects"] == 1
    assert [result.seq for result in results] == sorted({result.seq for result in results})
    assert results[-1].seq == 19
    assert all(before.pts_ns < after.pts_ns for before, after in pairwise(results))
    assert all(result.time is not None for result in results)
    assert run.failed is None
