from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from typer.testing import CliRunner

from flow.cli.app import app

Ace = Callable[..., Any]
PIXELS = ("--format", "rgb24", "--fit", "stretch", "--mean", "127,127,127", "--std", "64,64,64")

MANIFEST = """\
apiVersion: ace/v1
kind: Model
name: {name}
version: 1.0.0
file: float.onnx
input: {{format: rgb24, fit: stretch, mean: [127, 127, 127], std: [64, 64, 64]}}
"""

BUSINESS = """\
apiVersion: ace/v1
kind: Business
name: motion
version: 1.0.0
inputs: {camera: image}
graph: {moving: {op: motion.background, in: {image: camera}}}
outputs: {moving: moving}
"""


@pytest.fixture
def quantize(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `ace quantize` in this process, in the folder `here`."""
    monkeypatch.chdir(here)
    return lambda *arguments: CliRunner().invoke(app, ["quantize", *arguments])


@pytest.fixture
def here(save_model: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with float.onnx and twelve pictures."""
    random = np.random.default_rng(0)
    save_model(
        [
            helper.make_node("Conv", ["x", "w1"], ["a"], "first", strides=[2, 2]), helper.make_node("Relu", ["a"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("MatMul", ["f", "w2"], ["y"], "second"),
        ],
        [("x", "float32", (1, 3, 16, 16))], [("y", "float32", (1, 4))],
        {"w1": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32), "w2": random.normal(0, 1, (8, 4)).astype(np.float32)},
        name="float.onnx", opset=13,
    )  # fmt: skip
    import cv2

    (tmp_path / "pictures").mkdir()
    for number in range(12):
        coarse = random.integers(0, 256, (4, 4, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), cv2.resize(coarse, (40, 30)))
    return tmp_path


def test_a_model_is_quantized_with_a_report(ace: Ace, here: Path) -> None:
    done = ace("quantize", "float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--float-share", "0.1", "--report", "r.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((here / "r.json").read_text())
    assert [layer["name"] for layer in report["layers"]] == ["first", "second"]
    assert report["accuracy"]["outputs"]["y"]["sqnr_db"] > 25
    assert (report["kept_float"], report["calibrated_on"], report["held_out"]) == ([], 10, 2)
    assert report["bytes_after"] == (here / "q.onnx").stat().st_size
    assert {node.op_type for node in onnx.load(here / "q.onnx").graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    words = done.stdout.split()
    assert {"first", "second", "Conv", "uint8"} <= set(words)
    assert "kept float: none" in done.stdout
    assert "not rounded: results" in done.stdout
    assert "same best class: 100.0 % of 2 held-out samples" in done.stdout


def test_a_manifest_says_how_pixels_become_the_input(quantize: Callable[..., Any], here: Path) -> None:
    (here / "model.yaml").write_text(MANIFEST.format(name="tiny") + "---\n" + MANIFEST.format(name="other"))
    done = quantize("model.yaml", "--name", "tiny", "--data", "pictures", "-o", "a.onnx")
    assert done.exit_code == 0, done.stderr
    assert quantize("float.onnx", "--data", "pictures", "-o", "b.onnx", *PIXELS).exit_code == 0
    assert (here / "a.onnx").read_bytes() == (here / "b.onnx").read_bytes()
    done = quantize("model.yaml", "--data", "pictures", "-o", "c.onnx")
    assert done.exit_code == 2
    assert "--name" in done.stderr


def test_layers_stay_float_by_name(quantize: Callable[..., Any]) -> None:
    done = quantize("float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--keep-float", "first")
    assert done.exit_code == 0, done.stderr
    assert "kept float: first; about" in done.stdout


@pytest.mark.parametrize("options", [[], ["--keep-float", "none"], ["--float-share", "0"]])
def test_all_is_in_uint8_where_nothing_may_stay_float(quantize: Callable[..., Any], here: Path, options: list[str]) -> None:
    done = quantize("float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, *options)
    assert done.exit_code == 0, done.stderr
    assert "not rounded" not in done.stdout
    assert onnx.load(here / "q.onnx").graph.node[-1].op_type == "DequantizeLinear"


@pytest.mark.parametrize("option", ["", "--no-pair-safe"])
def test_weights_are_pair_safe_unless_told_otherwise(quantize: Callable[..., Any], here: Path, option: str) -> None:
    done = quantize("float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, *filter(None, [option]), "--report", "report.json")
    assert done.exit_code == 0, done.stderr
    assert ("pair-safe" in done.stdout.split()) is not bool(option)
    assert json.loads((here / "report.json").read_text())["pair_safe"] is not bool(option)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folat.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS], "did you mean 'float.onnx'"),
        (["float.onnx", "--data", "nothing", "-o", "q.onnx", *PIXELS], "nothing"),
        (["float.onnx", "--data", ".", "-o", "q.onnx", *PIXELS], "picture files"),
        (["float.onnx", "--data", "float.onnx", "-o", "q.onnx", *PIXELS], "FFmpeg"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx"], "--format"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", "--mean", "1,2,3"], "--format"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", "--format", "rgb42"], "rgb24"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", "--format", "gray8"], "gray8"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--size", "20x20"], "expected 16"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--mean", "a"], "numbers"),
        (["float.onnx", "--data", "pictures", "-o", "float.onnx", *PIXELS], "choose another name"),
        (["float.onnx", "--data", "pictures", "-o", "none/q.onnx", *PIXELS], "make it first"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--report", "q.onnx"], "a file of its own"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--keep-float", "frist"], "did you mean 'first'"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--keep-float", "first,second"], "keep fewer"),
        (["float.onnx", "--data", "pictures", "-o", "q.onnx", *PIXELS, "--ranges", "mes"], "did you mean 'mse'"),
        (["motion.yaml", "--data", "pictures", "-o", "q.onnx"], "kind Model"),
        (["motion.yaml", "--data", "pictures", "-o", "q.onnx", *PIXELS], "change the manifest"),
    ],
)
def test_wrong_input_is_a_message_and_status_2(quantize: Callable[..., Any], here: Path, arguments: list[str], said: str) -> None:
    (here / "motion.yaml").write_text(BUSINESS)
    done = quantize(*arguments)
    assert done.exit_code == 2, (done.stderr, done.exception)
    assert said in " ".join(done.stderr.replace("│", " ").split()), done.stderr
    assert "Traceback" not in done.stderr
    assert not (here / "q.onnx").exists()
