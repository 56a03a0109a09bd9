from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from devices.quantize import Samples
from devices.spec import TensorSpec

SHAPE = (1, 3, 12, 12)


def pictures(count: int = 10, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield {"x": random.uniform(-1, 1, shape).astype(np.float32)}


@pytest.fixture
def samples() -> Iterator[Callable[..., Samples]]:
    """Random inputs `x`: `samples(count, shape)`."""
    held: list[Samples] = []

    def make(count: int = 10, shape: tuple[int, ...] = SHAPE) -> Samples:
        held.append(Samples({"x": TensorSpec("float32", shape)}, pictures(count, shape), count))
        return held[-1]

    yield make
    for each in held:
        each.close()


@pytest.fixture
def network(save_model: Callable[..., Path]) -> Callable[..., Path]:
    """A small detector-like network: strided convolution with SiLU, depthwise with Relu, residual, concatenation, pooling, product, and a
    float tail with softmax."""

    def make(name: str = "float.onnx", opset: int = 13) -> Path:
        random = np.random.default_rng(1)

        def weight(*shape: int) -> np.ndarray:
            return random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

        node = helper.make_node
        nodes = [
            node("Conv", ["x", "w1", "b1"], ["a"], "stem", pads=[1] * 4),
            node("Sigmoid", ["a"], ["s"]),
            node("Mul", ["a", "s"], ["silu"]),
            node("Conv", ["silu", "w2", "b2"], ["d"], "depthwise", pads=[1] * 4, group=8),
            node("Relu", ["d"], ["dr"]),
            node("Conv", ["dr", "w3"], ["p"], "project"),
            node("Add", ["p", "silu"], ["sum"]),
            node("Relu", ["sum"], ["sumr"]),
            node("Conv", ["sumr", "w4", "b4"], ["q"], "side"),
            node("Concat", ["q", "sumr"], ["cat"], axis=1),
            node("MaxPool", ["cat"], ["max"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["max", "w5", "b5"], ["last"], "last"),
            node("GlobalAveragePool", ["last"], ["gap"]),
            node("Flatten", ["gap"], ["flat"]),
            node("Gemm", ["flat", "w6", "b6"], ["logits"], "classify", transB=1),
            node("Softmax", ["logits"], ["y"], axis=1),
        ]
        constants = {
            "w1": weight(8, 3, 3, 3), "w2": weight(8, 1, 3, 3), "w3": weight(8, 8, 1, 1), "w4": weight(8, 8, 1, 1),
            "w5": weight(8, 16, 1, 1), "w6": weight(5, 8) * 3, **{f"b{at}": weight(5 if at == 6 else 8, 4)[:, 0] for at in (1, 2, 4, 5, 6)},
        }  # fmt: skip
        return save_model(nodes, [("x", "float32", SHAPE)], [("y", "float32", (1, 5))], constants, name=name, opset=opset)

    return make
