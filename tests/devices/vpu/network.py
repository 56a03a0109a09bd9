"""A small quantized network in an ONNX file, and manifests of businesses with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def save_network(path: Path, *, batch: int | str = 1, softmax: bool = False, mean_scale: float = 0.02) -> Path:
    """QDQ, float32 pictures of 3 x 8 x 8 to 3 scores; with `softmax` its last operator is over floats."""
    import onnx
    from onnx import helper, numpy_helper

    random = np.random.default_rng(5)
    constants: dict[str, np.ndarray] = {}
    nodes = []

    def through(value: str, scale: float, zero: int) -> str:
        constants.update({f"{value}.s": np.float32(scale), f"{value}.z": np.uint8(zero)})
        nodes.append(helper.make_node("QuantizeLinear", [value, f"{value}.s", f"{value}.z"], [f"{value}.q"], f"{value}.q"))
        nodes.append(helper.make_node("DequantizeLinear", [f"{value}.q", f"{value}.s", f"{value}.z"], [f"{value}.d"], f"{value}.d"))
        return f"{value}.d"

    def weight(key: str, *shape: int, axis: int = 0) -> str:
        scales = random.uniform(0.002, 0.01, shape[axis]).astype(np.float32)
        constants.update(
            {key: random.integers(-127, 128, shape).astype(np.int8), f"{key}.s": scales, f"{key}.z": np.zeros(len(scales), np.int8)}
        )
        nodes.append(helper.make_node("DequantizeLinear", [key, f"{key}.s", f"{key}.z"], [f"{key}.d"], f"{key}.d", axis=axis))
        return f"{key}.d"

    x = through("pixels", 0.02, 128)
    nodes.append(helper.make_node("Conv", [x, weight("w1", 8, 3, 3, 3)], ["c1"], "first", pads=[1] * 4, strides=[2, 2]))
    nodes.append(helper.make_node("Relu", ["c1"], ["r1"], "relu"))
    r1 = through("r1", 0.03, 0)
    nodes.append(helper.make_node("Conv", [r1, weight("w2", 8, 1, 3, 3)], ["c2"], "second", pads=[1] * 4, group=8))
    c2 = through("c2", 0.03, 120)
    nodes.append(helper.make_node("Add", [r1, c2], ["sum"], "sum"))
    total = through("sum", 0.04, 90)
    nodes.append(helper.make_node("GlobalAveragePool", [total], ["mean"], "mean"))
    mean = through("mean", mean_scale, 100)
    nodes.append(helper.make_node("Flatten", [mean], ["flat"], "flat"))
    flat = through("flat", mean_scale, 100)
    nodes.append(helper.make_node("Gemm", [flat, weight("w3", 8, 3, axis=1)], ["scores"], "scores"))
    last = through("scores", 0.02, 110)
    nodes.append(helper.make_node("Softmax" if softmax else "Identity", [last], ["out"], "last"))
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("pixels", 1, (batch, 3, 8, 8))], [helper.make_tensor_value_info("out", 1, (batch, 3))],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


MODEL = """\
apiVersion: ace/v1
kind: Model
name: net
version: 1.0.0
file: net.onnx
input: {format: rgb24, fit: stretch, mean: [128, 128, 128], std: [50, 50, 50]}
labels: [first, second, third]
"""
BUSINESS = """\
---
apiVersion: ace/v1
kind: Business
name: {name}
version: 1.0.0
inputs: {{camera: image}}
models: {{net: net@^1}}
graph:
  pixels:
    op: image.resize
    in: {{image: camera}}
    config: {{width: 8, height: 8, tensor: {{name: pixels, format: rgb24, mean: [128, 128, 128], std: [50, 50, 50]}}}}
  scores: {{op: nn.infer, in: {{tensors: pixels.tensors}}, model: net, config: {{{where}}}}}
  best: {{op: classify.topk, in: {{tensors: scores}}, model: net, config: {{k: 3}}}}
outputs: {{best: best}}
"""


def manifests_of(**where: str) -> str:
    """Manifests of the network in `net.onnx` and of businesses with it: for each name the config of its inference."""
    return MODEL + "".join(BUSINESS.format(name=name, where=place) for name, place in where.items())
