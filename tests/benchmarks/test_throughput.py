"""`ace run` against the plain loop that a user would write with PyAV, OpenCV and onnxruntime, side by side, as ratios."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ACE = str(Path(sys.executable).with_name("ace"))
PIN = "import json, os, sys; os.sched_setaffinity(0, json.loads(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
REPEATS = 5
FRAMES = 200

PLAIN = """
import sys, time
import av, cv2, numpy as np, onnxruntime

cv2.setNumThreads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 3
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
grids, strides = [], []
for stride in (8, 16, 32):
    side = 416 // stride
    y, x = np.mgrid[:side, :side]
    grids.append(np.stack((x, y), 2).reshape(-1, 2)); strides.append(np.full((side * side, 1), stride))
grid, stride = np.concatenate(grids), np.concatenate(strides)
started = None
with av.open(sys.argv[2]) as clip:
    clip.streams.video[0].thread_count = 1
    for number, frame in enumerate(clip.decode(video=0)):
        if number == int(sys.argv[3]):
            break
        bgr = frame.to_ndarray(format="bgr24")
        ratio = min(416 / bgr.shape[0], 416 / bgr.shape[1])
        small = cv2.resize(bgr, (int(bgr.shape[1] * ratio), int(bgr.shape[0] * ratio)))
        canvas = np.full((416, 416, 3), 114, np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        raw = session.run(None, {name: canvas.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
        scores = raw[:, 4:5] * raw[:, 5:]
        keep = scores.max(1) > 0.35
        rows, classes, best = raw[keep], scores[keep].argmax(1), scores[keep].max(1)
        centre, size = (rows[:, :2] + grid[keep]) * stride[keep], np.exp(rows[:, 2:4]) * stride[keep]
        boxes = np.concatenate((centre - size / 2, size), 1) / ratio
        kept = cv2.dnn.NMSBoxesBatched(boxes.tolist(), best.tolist(), classes.tolist(), 0.35, 0.45) if len(boxes) else []
        print([(boxes[i].tolist(), float(best[i]), int(classes[i])) for i in kept], flush=True)
"""

MODEL = """
apiVersion: ace/v1
kind: Model
name: yolox-nano
version: 1.0.0
file: yolox_nano.onnx
input: {format: bgr24, fit: letterbox, pad: 114}
labels: coco80
"""

BUSINESS = """
---
apiVersion: ace/v1
kind: Business
name: %(name)s
version: 1.0.0
inputs: {camera: image}
models: {detector: yolox-nano@^1}
graph:
  boxes: {op: detect.yolox, in: {image: camera}, model: detector, config: {score: %(score)s, iou: 0.45%(classes)s}}
"""

BOXES = "outputs: {boxes: boxes}\n"
TRACKS = """  tracks: {op: %(tracker)s, in: {detections: boxes}}
outputs: {tracks: tracks}
"""
ONE = {"name": "one", "score": "0.35", "classes": "", "tracker": "track.byte"}
TWO = {"name": "two", "score": "0.25", "classes": ", classes: [person, dog, cat]", "tracker": "track.iou"}


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    (tmp_path / "yolox_nano.onnx").write_bytes((data / "models" / "yolox_nano.onnx").read_bytes())
    (tmp_path / "plain.py").write_text(PLAIN)
    (tmp_path / "boxes.yaml").write_text(MODEL + BUSINESS % ONE + BOXES)
    (tmp_path / "one.yaml").write_text(MODEL + (BUSINESS + TRACKS) % ONE)
    (tmp_path / "both.yaml").write_text(MODEL + (BUSINESS + TRACKS) % ONE + (BUSINESS + TRACKS) % TWO)
    return tmp_path


def rate(command: list[str], cores: set[int]) -> float:
    """Lines a second, from the first line on, of a command that may use these cores."""
    pinned = [sys.executable, "-c", PIN, json.dumps(sorted(cores)), *command]
    with subprocess.Popen(pinned, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        started, lines = time.monotonic(), 0
        for _ in process.stdout:
            lines += 1
        took = time.monotonic() - started
    assert process.returncode == 0
    assert lines == FRAMES - 1
    return lines / took


def shown(title: str, ratios: list[float], bar: str) -> None:
    print(f"\n{title}: median {statistics.median(ratios):.3f} of {', '.join(f'{ratio:.3f}' for ratio in ratios)} (bar: {bar})")


def once(benchmark: Any, work: Callable[[], None]) -> None:
    benchmark.pedantic(work, rounds=1, iterations=1)


def test_against_a_plain_loop(benchmark: Any, folder: Path, data: Path) -> None:
    """One business on one core and on two, against the loop on one core."""
    clip = str(data / "videos" / "pet_dog.mp4")
    plain = [sys.executable, str(folder / "plain.py"), str(folder / "yolox_nano.onnx"), clip, str(FRAMES)]
    ours = [ACE, "run", str(folder / "boxes.yaml"), "--bind", f"camera={clip}", "--frames", str(FRAMES), "--out", "boxes=-"]
    first, second = sorted(os.sched_getaffinity(0))[:2]
    one: list[float] = []
    two: list[float] = []

    def work() -> None:
        for _ in range(REPEATS):
            loop = rate(plain, {first})
            one.append(rate(ours, {first}) / loop)
            two.append(rate(ours, {first, second}) / loop)

    once(benchmark, work)
    shown("ace run on one core / plain loop on one core", one, ">= 0.95")
    shown("ace run on two cores / plain loop on one core", two, ">= 1.7")


def test_the_second_business_on_one_model(benchmark: Any, folder: Path, data: Path) -> None:
    """Processor time a frame of two businesses that share a stream and a model, over one business alone, from the first result on."""
    import flow
    import manifests

    clip = str(data / "videos" / "pet_dog.mp4")

    def cpu_a_frame(name: str, output: str) -> tuple[float, dict[str, Any]]:
        plan = flow.make_plan(manifests.load(folder / name, bind={"camera": clip}))
        with flow.Executor(plan, frames=FRAMES) as run:
            start = None
            for result in run.results(output):
                if result.seq == 10:
                    start = run.snapshot()["cpu_seconds"]
                last = run.snapshot()["cpu_seconds"] if result.seq == FRAMES - 5 else None
                if last is not None:
                    used = last - (start or 0.0)
        return used / (FRAMES - 15), run.report()

    ratios: list[float] = []

    def work() -> None:
        for _ in range(REPEATS):
            alone, _ = cpu_a_frame("one.yaml", "one.tracks")
            both, report = cpu_a_frame("both.yaml", "one.tracks")
            inferences = [node["runs"] for node in report["nodes"].values() if node["op"] == "nn.infer"]
            assert inferences == [FRAMES], "one inference a frame for both"
            ratios.append(both / alone)

    once(benchmark, work)
    shown("CPU a frame, two businesses / one", ratios, "<= 1.05")


ALONE = """
import sys, time
import numpy as np, devices

session = devices.load(sys.argv[1], engine="onnxruntime", threads=int(sys.argv[2]))
name, spec = next(iter(session.inputs.items()))
pixels = np.zeros(spec.shape, np.float32)
session.run({name: pixels})
started = time.monotonic()
for _ in range(100):
    session.run({name: pixels})
print(100 / (time.monotonic() - started))
"""


@pytest.mark.timeout(900)
def test_three_sessions_in_three_workers(benchmark: Any, folder: Path, data: Path) -> None:
    """Inferences a second of three businesses with a model each, in three workers, whole pipelines included, against the best that one
    session reaches alone in a bare loop, with one thread or two.
    """
    import onnx

    import flow
    import manifests

    clip = str(data / "videos" / "pet_dog.mp4")
    names = ("first", "second", "third")
    for name in names:  # equal weights, but models of their own
        model = onnx.load(folder / "yolox_nano.onnx")
        model.doc_string = name
        onnx.save(model, folder / f"{name}.onnx")
    paths = []
    for name in names:
        manifest = MODEL.replace("yolox-nano", name).replace("yolox_nano", name)
        manifest += BUSINESS.replace("yolox-nano", name) % {**ONE, "name": name} + BOXES
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(manifest)

    def alone(threads: int) -> float:
        command = [sys.executable, "-c", ALONE, str(folder / "yolox_nano.onnx"), str(threads)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def together() -> float:
        """From the first frame that all three have, to the end of the first of them."""
        plan = flow.make_plan(manifests.load(*paths, bind={f"{name}.camera": clip for name in names}))
        assert sum(lane.name.startswith("infer") for lane in plan.lanes) == 3
        done = dict.fromkeys(names, 0)
        with flow.Executor(plan, frames=FRAMES // 2) as run:
            for result in run.results():
                if not all(done.values()):
                    started, before = time.monotonic(), sum(done.values())
                done[result.business] += 1
                if max(done.values()) == FRAMES // 2:
                    return (sum(done.values()) - before) / (time.monotonic() - started)
        raise AssertionError("the run ended early")

    ratios: list[float] = []

    def work() -> None:
        for _ in range(REPEATS):
            best = max(alone(1), alone(2))
            ratios.append(together() / best)

    once(benchmark, work)
    shown("three sessions in three workers / best single session", ratios, ">= 0.95")
