"""Bad input, row by row, through `ace run`: a clear message and status 2, or a counted fault while running; nothing stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

HEAD = """
apiVersion: ace/v1
kind: Model
name: tiny
version: 1.0.0
file: tiny.onnx
input: {format: rgb24, fit: stretch}
labels: [a, b, c]
---
apiVersion: ace/v1
kind: Business
name: probe
version: 1.0.0
inputs: {camera: image}
models: {tiny: tiny@^1}
graph:
"""

PIXELS = "  pixels: {op: image.resize, in: {image: camera}, config: {width: 8, height: 8, tensor: {name: pixels, format: rgb24}}}"

GOOD = f"""
{PIXELS}
  scores: {{op: nn.infer, in: {{tensors: pixels.tensors}}, model: tiny}}
  kinds: {{op: classify.topk, in: {{tensors: scores}}, model: tiny}}
outputs: {{kinds: kinds}}
"""

CAMERA = "camera=synthetic:pen?size=64x48&frames=5&rate=max"

Ace = Callable[..., Any]


def write_model(path: Path, *, external: str | None = None) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Add", ["flat", "bias"], ["scores"]),
    ]
    bias = numpy_helper.from_array(np.zeros((1, 3), np.float32), "bias")
    if external is not None:
        bias.ClearField("raw_data")
        bias.data_location = onnx.TensorProto.EXTERNAL
        entry = bias.external_data.add()
        entry.key, entry.value = "location", external
    pixels = helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, (1, 3, 8, 8))
    scores = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, (1, 3))
    model = helper.make_model(helper.make_graph(nodes, "tiny", [pixels], [scores], [bias]), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.write_bytes(model.SerializeToString())


def left_behind(runtime: Path) -> list[str]:
    """Shared memory and folders of runs that are still there; other tests may have folders of their own in memory."""
    found = (*runtime.glob("ace/*"), *Path("/dev/shm").glob("*ace*"))
    return [str(path) for path in found if not path.name.startswith("ace-test-")]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder of this test's own (in a short place: addresses of sockets have at most 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="ace") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


@pytest.fixture
def probe(ace: Ace, tmp_path: Path, runtime: Path) -> Callable[..., Any]:
    """Runs a manifest with the tiny model beside it."""
    write_model(tmp_path / "tiny.onnx")

    def run(manifest: str | bytes = HEAD + GOOD, *more: str, camera: str = CAMERA) -> Any:
        path = tmp_path / "probe.yaml"
        path.write_bytes(manifest if isinstance(manifest, bytes) else textwrap.dedent(manifest).encode())
        done = ace("run", "probe.yaml", "--bind", camera, *more)
        assert left_behind(runtime) == []
        assert "Traceback" not in done.stderr
        return done

    return run


def test_the_good_one_runs(probe: Callable[..., Any]) -> None:
    done = probe()
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        pytest.param("kind: [unclosed", "well-formed YAML", id="malformed YAML"),
        pytest.param(b"\xff\xfe\x00binary", "probe.yaml", id="no text"),
        pytest.param(BOMB, "probe.yaml", id="YAML bomb"),
        pytest.param("[" * 5000, "probe.yaml", id="deep nesting"),
        pytest.param(HEAD + GOOD.replace("model: tiny}", "modle: tiny}"), "did you mean `model`", id="unknown key"),
        pytest.param(HEAD + GOOD.replace("nn.infer", "nn.infre"), "did you mean `nn.infer`", id="unknown operator"),
        pytest.param(HEAD.replace("tiny@^1", "tinny@^1") + GOOD, "did you mean `tiny", id="unknown model"),
        pytest.param(HEAD.replace("tiny@^1", "tiny@^2") + GOOD, "1.0.0", id="no version in range"),
        pytest.param(HEAD + GOOD.replace("pixels.tensors", "pixels.tensor"), "did you mean `pixels.tensors`", id="unknown port"),
        pytest.param(HEAD + GOOD.replace("image: camera", "image: kinds"), "->", id="cycle"),
        pytest.param(HEAD + GOOD.replace("width: 8", "width: 9"), "float32[1x3x8x8]", id="shape mismatch"),
        pytest.param(HEAD + GOOD.replace("pixels.tensors", "camera").replace(PIXELS, ""), "expected", id="type mismatch"),
        pytest.param(HEAD + GOOD.replace("width: 8", "width: wide"), "width", id="config of a wrong type"),
        pytest.param(HEAD.replace("tiny.onnx", "../tiny.onnx") + GOOD, "folder", id="a path that leaves its folder"),
        pytest.param(HEAD.replace("tiny.onnx", "none.onnx") + GOOD, "none.onnx", id="missing model"),
    ],
)
def test_manifests(probe: Callable[..., Any], manifest: str | bytes, said: str) -> None:
    done = probe(manifest)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split()), done.stderr
    assert "probe.yaml" in done.stderr


@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "external", "escaping"])
def test_models(probe: Callable[..., Any], tmp_path: Path, damage: str) -> None:
    path = tmp_path / "tiny.onnx"
    whole = path.read_bytes()
    probe_now = probe
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "garbage":
            path.write_bytes(os.urandom(4000))
        case "external":
            write_model(path, external="not-there.bin")
        case "escaping":
            (tmp_path.parent / "outside.bin").write_bytes(bytes(12))
            write_model(path, external="../outside.bin")
    done = probe_now()
    assert done.returncode == 2, done.stderr
    assert "tiny.onnx" in done.stderr or "tiny" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "clip.mp4"), (b"", "clip.mp4"), (b"this is no video" * 100, "clip.mp4")],
    ids=["missing", "empty", "no video"],
)
def test_videos(probe: Callable[..., Any], tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    done = probe(camera="camera=clip.mp4")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_sinks_that_cannot_be_written(probe: Callable[..., Any], tmp_path: Path) -> None:
    done = probe(HEAD + GOOD, "--out", "kinds=nowhere/out.jsonl")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    (tmp_path / "taken.jsonl").mkdir()
    done = probe(HEAD + GOOD, "--out", "kinds=taken.jsonl")
    assert done.returncode == 2
    assert "taken.jsonl" in done.stderr


def test_a_full_disk_under_a_sink_is_said_and_fails_the_run(probe: Callable[..., Any]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = probe(HEAD + GOOD, "--out", "kinds=/dev/full")
    assert done.returncode in (1, 2)
    assert "/dev/full" in done.stderr


def test_a_closed_standard_output_is_refused(tmp_path: Path, runtime: Path) -> None:
    write_model(tmp_path / "tiny.onnx")
    (tmp_path / "probe.yaml").write_text(HEAD + GOOD)
    command = [sys.executable, "-c", "from flow.cli import main; main()", "run", "probe.yaml", "--bind", CAMERA]
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" >&-', "-", *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "expected an open standard output" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(runtime) == []


def test_less_memory_than_the_plan_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is allocated, with both numbers."""
    import flow
    import manifests

    write_model(tmp_path / "tiny.onnx")
    (tmp_path / "probe.yaml").write_text(HEAD + GOOD)
    deployment = manifests.load(tmp_path / "probe.yaml", bind={"camera": "synthetic:pen?rate=max"})
    with pytest.raises(manifests.ManifestError) as error:
        flow.make_plan(deployment, memory=1_000_000)
    assert "1.0 MB" in str(error.value) or "1000000" in str(error.value)


def test_a_damaged_video_is_counted_and_the_rest_runs(probe: Callable[..., Any], tmp_path: Path) -> None:
    import av

    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"g": "5"}
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.random.default_rng(number).integers(0, 255, (72, 64), np.uint8), format="yuv420p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = os.urandom(2000)
    path.write_bytes(data)
    done = probe(HEAD + GOOD, "--report", "report.json", camera="camera=clip.mkv")
    assert done.returncode in (0, 1), done.stderr
    assert len(done.stdout.splitlines()) >= 20
    stream = json.loads((tmp_path / "report.json").read_text())["streams"]["camera"]
    assert stream["in"] == len(done.stdout.splitlines())


def test_a_target_that_is_the_source_is_refused_and_left_whole(ace: Ace, tmp_path: Path) -> None:
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((72, 64), np.uint8), format="yuv420p")))
        out.mux(stream.encode())
    before = path.read_bytes()
    done = ace("run", "motion.yaml", "--bind", "camera=clip.mp4", "--out", "tracks=./clip.mp4")
    assert done.returncode == 2, done.stderr
    assert "the source of stream camera" in " ".join(done.stderr.split())
    done = ace("run", "motion.yaml", "--bind", "camera=clip.mp4", "--report", "./clip.mp4")
    assert done.returncode == 2, done.stderr
    assert "the source of stream camera" in " ".join(done.stderr.split())
    assert path.read_bytes() == before
