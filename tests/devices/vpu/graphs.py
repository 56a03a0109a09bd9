"""Random quantized graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, GraphError, Quantization, Type
from devices.native.passes import optimize


def step(draw: st.DrawFn) -> Quantization:
    return Quantization((float(np.float32(draw(st.floats(0.01, 0.2)))),), (draw(st.integers(0, 255)),))


def weights(draw: st.DrawFn, b: Builder, random: np.random.Generator, shape: Sequence[int], channels: int, axis: int) -> tuple[str, str]:
    """int8 weights with a scale a channel, or one and a zero point; and a bias."""
    scales = np.float32(random.uniform(0.001, 0.02, channels)).astype(float).tolist()
    told = Quantization(tuple(scales), (0,) * channels, axis)
    if draw(st.booleans()):
        told = Quantization(tuple(scales[:1]), (draw(st.integers(-20, 20)),))
    weight = b.constant(random.integers(-128, 128, shape).astype(np.int8), "w", told)
    return weight, b.constant(random.integers(-3000, 3000, channels).astype(np.int32), "bias")


@st.composite
def networks(draw: st.DrawFn, most: int = 5) -> Graph:
    """Small quantized networks, optimized as they are before a program is made of them."""
    b = Builder()
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(2, 7)), draw(st.integers(2, 7)))
    if draw(st.booleans()):
        values = [b.add(ops.Quantize(step(draw)), b.input("x", Type("float32", shape)))]
    else:
        values = [b.input("x", Type("uint8", shape, quantization=step(draw)))]
    for _ in range(draw(st.integers(1, most))):
        try:
            values.append(grown(draw, b, random, values[-1], values))
        except GraphError:
            continue
    last = b.add(ops.Dequantize(), values[-1]) if draw(st.booleans()) else values[-1]
    middle = values[draw(st.integers(0, len(values) - 1))]
    return optimize(b.graph([("y", last), *([("m", middle)] if draw(st.booleans()) else [])]))


def grown(draw: st.DrawFn, b: Builder, random: np.random.Generator, x: str, values: list[str]) -> str:
    told = b.types[x]
    kinds = [
        "conv",
        "depthwise",
        "grouped",
        "add",
        "mul",
        "channel",
        "max",
        "average",
        "mean",
        "table",
        "move",
        "cut",
        "pad",
        "resize",
        "joined",
    ]
    limits = sorted((draw(st.integers(0, 255)), draw(st.integers(0, 255))))
    window = ops.Window(
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))), (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        tuple(draw(st.integers(0, 2)) for _ in range(4)), (draw(st.integers(1, 2)), 1),
    )  # fmt: skip
    out = step(draw)
    match draw(st.sampled_from(kinds)) if told.rank == 4 else draw(st.sampled_from(["dense", "table", "add"])):
        case "conv":
            outs = draw(st.integers(1, 6) | st.just(24))
            return b.add(ops.QConv(window, out, 1, *limits), x, *weights(draw, b, random, (outs, told.channels, *window.kernel), outs, 0))
        case "depthwise":
            outs = told.channels
            return b.add(ops.QConv(window, out, outs, *limits), x, *weights(draw, b, random, (outs, 1, *window.kernel), outs, 0))
        case "grouped" if told.channels % 2 == 0:
            outs = 2 * draw(st.integers(1, 3))
            shape = (outs, told.channels // 2, *window.kernel)
            return b.add(ops.QConv(window, out, 2, *limits), x, *weights(draw, b, random, shape, outs, 0))
        case "dense":
            outs = draw(st.integers(1, 9) | st.just(40))
            return b.add(ops.QDense(out, *limits), x, *weights(draw, b, random, (told.shape[-1], outs), outs, 1))
        case "add":
            return b.add(ops.QAdd(out, *limits), x, draw(st.sampled_from(values)))
        case "mul":
            return b.add(ops.QMul(out), x, draw(st.sampled_from(values)))
        case "channel":
            other = random.integers(0, 256, (told.channels, 1, 1)).astype(np.uint8)
            return b.add(draw(st.sampled_from([ops.QAdd(out), ops.QMul(out)])), x, b.constant(other, "c", step(draw)))
        case "max":
            return b.add(ops.MaxPool(window), x)
        case "average":
            return b.add(ops.QAveragePool(window, out, draw(st.booleans())), x)
        case "mean":
            pooled = b.add(ops.QMean(out), x)
            return b.add(ops.View((told.shape[0], told.channels), quantization=out), pooled)
        case "table":
            return b.add(ops.Table(out), x, b.constant(random.integers(0, 256, 256).astype(np.uint8), "t"))
        case "move":
            return b.add(ops.Transpose(tuple(draw(st.permutations(range(told.rank))))), x)
        case "cut":
            size = told.shape[2]
            first, count = draw(st.integers(0, size - 1)), draw(st.integers(1, size))
            stride = draw(st.sampled_from([1, 2, -1]))
            return b.add(
                ops.Slice((2,), (first,), (stride,), (min(count, (size - 1 - first if stride > 0 else first) // abs(stride) + 1),)), x
            )
        case "pad":
            return b.add(ops.Pad((0, 0, 1, 2), (0, 1, 0, 1), "constant", float(draw(st.integers(0, 255)))), x)
        case "resize":
            height, width = (draw(st.integers(1, 3)) * size for size in told.shape[2:])
            sizes = (height, width), (height / told.shape[2], width / told.shape[3])
            return b.add(ops.Resize((2, 3), *sizes, "nearest", "asymmetric", "floor"), x)
        case "joined":
            return b.add(ops.Concat(draw(st.integers(1, 3))), x, x)
        case _:
            raise GraphError("not for this value")
