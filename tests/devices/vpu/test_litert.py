"""MobileNetV2 of a TensorFlow Lite file as a program, beside LiteRT: each layer on LiteRT's own inputs.

Needs the package ai-edge-litert and the folder of real data; is skipped without.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.vpu.compiler import lower
from devices.vpu.emulator import Emulator
from devices.vpu.machine import Machine
from devices.vpu.program import Layer, Program
from tests.devices.vpu.tflite import SHIFT, read


@pytest.fixture
def file(data: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("ai_edge_litert.interpreter", reason="the peer ai-edge-litert is not installed")
    return data / "models" / "bench" / "mbv2_int8.tflite"


@cache
def compiled(path: Path) -> tuple[Program, list[int]]:
    graph, tensors = read(path)
    return lower(graph, Machine().local_bytes), tensors


def litert(path: Path, x: np.ndarray, kernels: str) -> Any:
    """LiteRT after a run on int8 input, every tensor kept."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    found = Interpreter(
        str(path), num_threads=1, experimental_preserve_all_tensors=True, experimental_op_resolver_type=OpResolverType[kernels]
    )
    found.allocate_tensors()
    found.set_tensor(found.get_input_details()[0]["index"], x)
    found.invoke()
    return found


def as_stored(array: np.ndarray) -> np.ndarray:
    return (array.astype(np.int16) + SHIFT).astype(np.uint8).reshape(-1)


@pytest.mark.parametrize("kernels", ["BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"])
def test_every_layer_is_within_one(file: Path, kernels: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, tensors = compiled(file)
    x = np.random.default_rng(1).integers(-128, 128, (1, 224, 224, 3)).astype(np.int8)
    peer = litert(file, x, kernels)
    order = iter(tensors)
    far: list[tuple[int, float, str]] = []

    def compare(layer: Layer, stored: np.ndarray) -> None:
        expected = as_stored(peer.get_tensor(next(order)))
        apart = np.abs(stored.astype(int) - expected.astype(int))
        far.append((int(apart.max()), float((apart > 0).mean()), layer.operator))
        stored[:] = expected  # so that the next layer reads what LiteRT's does

    Emulator(program, Machine()).run([as_stored(x)], [np.zeros(1000, np.uint8)], compare)
    assert len(far) == len(program.layers) == 69
    assert max(most for most, _, _ in far) <= 1
    with capsys.disabled():
        print(f"\n{kernels}: {sum(most == 0 for most, _, _ in far)} of {len(far)} layers equal, in the others at most", end=" ")
        print(f"{max(share for _, share, _ in far):.4%} of the values one apart")


def test_the_whole_network_is_near(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Differences of a layer are the next one's input: no bound holds for the end, but the classes' order does not move far."""
    program, _ = compiled(file)
    x = np.random.default_rng(2).integers(-128, 128, (1, 224, 224, 3)).astype(np.int8)
    made = np.zeros(1000, np.uint8)
    Emulator(program, Machine()).run([as_stored(x)], [made])
    peer = litert(file, x, "BUILTIN_REF")
    expected = as_stored(peer.get_tensor(peer.get_output_details()[0]["index"]))
    assert np.corrcoef(made.astype(float), expected.astype(float))[0, 1] > 0.99
    with capsys.disabled():
        apart = np.abs(made.astype(int) - expected.astype(int))
        print(f"\nend to end: {(apart == 0).mean():.1%} of the scores equal, the farthest {apart.max()} apart")
