"""`ace prepare`, and what a run makes ready by itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from devices.model import inspect
from devices.native import choice
from devices.native.choice import Measured

Ace = Callable[..., "subprocess.CompletedProcess[str]"]

MANIFEST = """\
apiVersion: ace/v1
kind: Model
name: squares
version: 1.0.0
file: squares.onnx
{engine}
input: {{format: rgb24, fit: stretch}}
labels: [low, high]
---
apiVersion: ace/v1
kind: Business
name: levels
version: 1.0.0
inputs: {{camera: image}}
models: {{net: squares}}
graph:
  level: {{op: classify.image, in: {{image: camera}}, model: net}}
outputs: {{level: level}}
"""
BIND = ("--bind", "camera=synthetic:pen")


@pytest.fixture
def squares(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a business with a small convolutional model, and empties the cache but for kernels: `squares(engine=..., last=operator)`."""
    fresh = tmp_path / "cache"
    fresh.mkdir(mode=0o700)
    (fresh / "kernels").symlink_to((own_cache / "kernels").resolve())
    monkeypatch.setenv("ACE_CACHE", str(fresh))

    def write(engine: str = "", last: str = "Softmax") -> Path:
        random = np.random.default_rng(0)
        weights = {
            "w": random.standard_normal((16, 3, 3, 3)), "b": random.standard_normal(16), "v": random.standard_normal((16, 2)),
            "axes": np.array([2, 3]),
        }  # fmt: skip
        nodes = [
            helper.make_node("Conv", ["x", "w", "b"], ["a"], name="conv", pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Relu", ["a"], ["r"], name="relu"), helper.make_node("ReduceMean", ["r"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["m", "v"], ["s"]), helper.make_node(last, ["s"], ["y"], name="last", axis=1),
        ]  # fmt: skip
        ends = [[helper.make_tensor_value_info(name, 1, shape)] for name, shape in (("x", [1, 3, 32, 32]), ("y", [1, 2]))]
        constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items() if name != "axes"]
        graph = helper.make_graph(nodes, "squares", *ends, constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "squares.onnx")
        path = tmp_path / "levels.yaml"
        path.write_text(MANIFEST.format(engine=f"engine: {engine}" if engine else ""))
        return path

    return write


def engine_of(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """Engine and reason of the plan's one inference."""
    assert done.returncode == 0, done.stderr
    (node,) = [node for node in json.loads(done.stdout)["nodes"] if node["engine"]]
    return node["engine"], node["why"]


@pytest.mark.timeout(180)
def test_prepared_once_and_the_plan_says_what_was_found(ace: Ace, squares: Callable[..., Path], tmp_path: Path) -> None:
    squares()
    first = ace("prepare", "levels.yaml")
    assert first.returncode == 0, first.stderr
    assert "compiling squares.onnx for native" in first.stderr
    assert "measuring squares on native and onnxruntime, 1 thread" in first.stderr
    (row,) = [line.split() for line in first.stdout.splitlines() if line.startswith("program of squares")]
    assert row[3] == "made"
    path = Path(row[-1])
    assert path.is_file()
    assert path.is_relative_to(tmp_path / "cache" / "programs")
    engine, why = engine_of(ace("plan", "levels.yaml", *BIND, "--format", "json"))
    assert why.startswith(f"native was measured {'faster' if engine == 'native' else 'no faster'}: ")
    second = ace("prepare", "levels.yaml")
    assert second.stderr == "everything is there\n"
    assert "program of squares  was there" in second.stdout
    assert why in second.stdout
    listed = ace("devices").stdout
    assert f"squares 1.0.0  {engine}" in listed


def test_operators_that_native_lacks_are_named(ace: Ace, squares: Callable[..., Path]) -> None:
    squares(last="Hardmax")
    done = ace("prepare", "levels.yaml")
    assert done.returncode == 0, done.stderr
    lacking = "native lacks Hardmax (ai.onnx 17, node 'last')"
    assert f"squares 1.0.0  onnxruntime  {lacking}" in done.stdout
    assert "program of" not in done.stdout
    assert lacking in ace("plan", "levels.yaml", *BIND, "--model", "squares").stdout


def test_a_run_makes_ready_what_it_needs(ace: Ace, squares: Callable[..., Path], tmp_path: Path) -> None:
    squares("native")
    run = ("run", "levels.yaml", *BIND, "--frames", "3", "--out")
    done = ace(*run, "level=native.jsonl")
    assert done.returncode == 0, done.stderr
    assert "compiling squares.onnx for native" in done.stderr
    (program,) = (tmp_path / "cache" / "programs").glob("*.program")
    program.write_bytes(program.read_bytes()[:-1])
    done = ace(*run, "level=again.jsonl")
    assert done.returncode == 0, done.stderr
    assert "it is set aside and made again" in done.stderr
    squares("onnxruntime")
    assert ace(*run, "level=other.jsonl").returncode == 0
    ours, again, other = (
        [json.loads(line)["classes"][0] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("native", "again", "other")
    )
    assert len(ours) == 3
    assert ours == again
    assert [row["label"] for row in ours] == [row["label"] for row in other]
    assert np.allclose([row["score"] for row in ours], [row["score"] for row in other], atol=1e-5)


def test_native_named_for_a_model_that_it_cannot_run(ace: Ace, squares: Callable[..., Path]) -> None:
    squares("native", last="Hardmax")
    done = ace("prepare", "levels.yaml")
    assert done.returncode == 2
    assert "Hardmax" in done.stderr
    assert "levels.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "levels.yaml"),
        (lambda path: path.write_text(MANIFEST.format(engine="engine: nativ")), "did you mean `native`?"),
        (lambda path: path.write_text(MANIFEST.format(engine="").partition("---")[0]), "expected a business to prepare"),
    ],
    ids=["missing", "engine", "no business"],
)
def test_wrong_input(write: Callable[[Path], object], said: str, ace: Ace, squares: Callable[..., Path], tmp_path: Path) -> None:
    squares().unlink()
    write(tmp_path / "levels.yaml")
    done = ace("prepare", "levels.yaml")
    assert done.returncode == 2
    assert said in done.stderr


def test_a_cache_that_cannot_be_written(ace: Ace, squares: Callable[..., Path], tmp_path: Path) -> None:
    squares("native")
    (tmp_path / "cache" / "programs").write_text("no folder")
    done = ace("prepare", "levels.yaml")
    assert done.returncode == 1
    assert "ACE_CACHE" in done.stderr


def test_a_model_drawn_as_native_compiled_it(ace: Ace, squares: Callable[..., Path], tmp_path: Path) -> None:
    squares()
    model = inspect(tmp_path / "squares.onnx").as_model()
    choice.keep(model, (), [Measured(1, 40, 1.0, 2.0)])
    plan = ("plan", "levels.yaml", *BIND, "--model", "squares")
    told = json.loads(ace(*plan, "--format", "json").stdout)
    assert (told["engine"], told["why"]) == ("native", "native was measured faster: 1.00 against 2.00 ms with 1 thread")
    assert [node["op"] for node in told["before"]] == ["Conv", "Relu", "ReduceMean", "MatMul", "Softmax"]
    conv = next(node for node in told["after"] if node["op"] == "Conv")
    assert conv["kernels"][0].startswith("gemm_f32")
    native = told["native"]
    assert "fuse_activation" in [each["name"] for each in native["passes"]]
    assert all(each["before"] != each["after"] for each in native["passes"])
    alive = [sum(-(-each["bytes"] // 64) * 64 for each in native["buffers"] if each["first"] <= at <= each["last"]) for at in range(20)]
    assert native["arena_bytes"] >= native["peak_bytes"] == max(alive) > 0
    assert native["data_bytes"] > 0
    drawing = ElementTree.fromstring(ace(*plan, "--format", "svg").stdout)
    width, height = float(drawing.get("width", 0)), float(drawing.get("height", 0))
    boxes = [each for each in drawing.iter() if each.tag.endswith("rect")]
    assert len(boxes) > len(told["before"]) + len(native["nodes"]) + len(native["buffers"])
    for box in boxes:
        assert float(box.get("x", 0)) + float(box.get("width", 0)) <= width
        assert float(box.get("y", 0)) + float(box.get("height", 0)) <= height
