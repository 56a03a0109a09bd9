from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import devices
from devices.engine import EngineError

KEYS = ["model", "engine", "emulated", "precision", "threads", "median_ms", "p99_ms", "load_ms", "first_ms", "peak_mb", "runs"]


def test_figures(scale_model: Path) -> None:
    seen: list[tuple[int, int]] = []
    (result,) = devices.bench_model(scale_model, ["onnxruntime"], "exact", 1, 30, progress=lambda *now: seen.append(now))
    assert list(result) == KEYS
    assert (result["model"], result["engine"], result["precision"], result["threads"], result["runs"]) == (
        str(scale_model), "onnxruntime", "exact", 1, 30,
    )  # fmt: skip
    assert 0 < result["median_ms"] <= result["p99_ms"]
    assert result["load_ms"] > 0
    assert result["first_ms"] > 0
    assert 20 < result["peak_mb"] < 1000
    assert seen[-1] == (30, 30)
    assert seen == sorted(seen)
    json.dumps(result)


def test_engines_take_turns(scale_model: Path, fake_device: Path) -> None:
    found = devices.bench_model(scale_model, ["auto", "fake", "onnxruntime"], runs=3)
    assert [(result["engine"], result["runs"]) for result in found] == [("onnxruntime", 3), ("fake", 3)]


def test_memory_is_that_of_the_model(save_model: Callable[..., Path], scale_model: Path) -> None:
    """Also when this process is larger than the one measured."""
    ballast = np.ones(25_000_000)
    weights = np.ones((2048, 2048), np.float32)
    big = save_model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", "float32", [1, 2048])], [("y", "float32", [1, 2048])], {"w": weights},
        name="big.onnx",
    )  # fmt: skip
    small_mb, big_mb = (devices.bench_model(path, ["onnxruntime"], runs=2)[0]["peak_mb"] for path in (scale_model, big))
    assert small_mb + weights.nbytes / 2**20 * 0.9 < big_mb < ballast.nbytes / 2**20


def test_engine_that_refuses(scale_model: Path) -> None:
    with pytest.raises(EngineError, match="expected auto or exact, got 'fast'"):
        devices.bench_model(scale_model, ["onnxruntime"], "fast", runs=1)


def test_unknown_engine(scale_model: Path) -> None:
    with pytest.raises(EngineError, match="did you mean 'onnxruntime'"):
        devices.bench_model(scale_model, ["onnxruntim"])


def test_process_that_dies(scale_model: Path, fake_device: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ace_fake_device

    code = Path(ace_fake_device.__file__).read_text()
    (tmp_path / "ace_fake_device.py").write_text(
        code.replace("    def run(", "    def run(self, inputs):\n        exit(7)\n\n    def old(")
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match="engine fake: its process ended with status 7"):
        devices.bench_model(scale_model, ["fake"], runs=1)


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threads": 0}, {"engines": []}])
def test_nothing_to_measure(scale_model: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(EngineError, match="at least 1"):
        devices.bench_model(scale_model, **wrong)  # type: ignore[arg-type]
