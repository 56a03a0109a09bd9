"""Random networks: every pass, the memory plan and the executor keep what they compute."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.native import operators as ops
from devices.native.assemble import assembled
from devices.native.execute import Executor
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, GraphError, Quantization, Type, verify
from devices.native.kernels import Library, ensure, library
from devices.native.lower import lower
from devices.native.machine import Machine
from devices.native.passes import PASSES
from devices.native.passes.qdq import fuse_qdq
from devices.native.reference import run


@cache
def kernels() -> Library:
    ensure()
    return library()


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    b = Builder()
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = [b.input("x", Type("float32", (1, draw(st.integers(1, 5)), draw(st.integers(3, 8)), draw(st.integers(3, 8)))))]
    for _ in range(draw(st.integers(1, 14))):
        x = values[draw(st.integers(max(0, len(values) - 3), len(values) - 1))]
        try:
            values.append(grown(draw, b, random, x, values))
        except GraphError:
            continue
    chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
    return b.graph([(f"y{index}", name) for index, name in enumerate([*chosen, values[-1]])])


def grown(draw: st.DrawFn, b: Builder, random: np.random.Generator, x: str, values: list[str]) -> str:
    told = b.types[x]

    def normal(*shape: int) -> str:
        return b.constant(random.standard_normal(shape).astype(np.float32))

    match draw(
        st.sampled_from(
            ["conv", "depthwise", "unary", "add", "channel", "pool", "mean", "move", "joined", "resize", "view", "pair", "dense"]
        )
    ):
        case "conv" if told.rank == 4:
            k, outs = draw(st.sampled_from([1, 3])), draw(st.integers(1, 5))
            window = ops.Window((k, k), (draw(st.integers(1, 2)),) * 2, (k // 2,) * 4, (1, 1))
            return b.add(ops.Conv(window), x, normal(outs, told.channels, k, k), normal(outs))
        case "depthwise" if told.rank == 4:
            window = ops.Window((3, 3), (1, 1), (1,) * 4, (1, 1))
            return b.add(ops.Conv(window, told.channels), x, normal(told.channels, 1, 3, 3), normal(told.channels))
        case "unary":
            choices = [ops.Unary("relu"), ops.Unary("sigmoid"), ops.Unary("clip", (-1.0, 2.0)), ops.Unary("hardswish"), ops.Unary("tanh")]
            return b.add(draw(st.sampled_from(choices)), x)
        case "add":
            return b.add(ops.Binary(draw(st.sampled_from(["add", "mul", "sub", "max"]))), x, draw(st.sampled_from(values)))
        case "channel" if told.rank == 4:
            return b.add(ops.Binary(draw(st.sampled_from(["add", "mul"]))), x, normal(told.channels, 1, 1))
        case "pool" if told.rank == 4:
            window = ops.Window((2, 2), (draw(st.integers(1, 2)),) * 2, (0, 0, 1, 1), (1, 1))
            return b.add(draw(st.sampled_from([ops.MaxPool(window), ops.AveragePool(window)])), x)
        case "mean" if told.rank == 4:
            return b.add(ops.Reduce("mean", (2, 3), draw(st.booleans())), x)
        case "move":
            perm = tuple(draw(st.permutations(range(told.rank))))
            return b.add(draw(st.sampled_from([ops.Transpose(perm), ops.Softmax(told.rank - 1)])), x)
        case "joined":
            return b.add(ops.Concat(1), x, draw(st.sampled_from(values)))
        case "resize" if told.rank == 4:
            h, w = told.shape[2:]
            return b.add(ops.Resize((2, 3), (2 * h, 2 * w), (2.0, 2.0), draw(st.sampled_from(["nearest", "linear"]))), x)
        case "view":
            size = int(np.prod(told.shape))
            return b.add(ops.View(draw(st.sampled_from([(1, size), (1, size, 1, 1), (1, 1, size, 1)]))), x)
        case "pair":
            q = Quantization((0.05,), (draw(st.integers(0, 255)),))
            return b.add(ops.Dequantize(), b.add(ops.Quantize(q), x))
        case "dense" if told.rank == 2:
            return b.add(ops.Dense(), x, normal(told.shape[1], 4), normal(4))
        case _:
            return b.add(ops.Unary("relu"), x)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(networks())
def test_every_stage_computes_the_same(feed: Callable[..., dict[str, np.ndarray]], graph: Graph) -> None:
    verify(graph)
    inputs = feed(graph)
    wanted = run(graph, inputs)
    for change in PASSES:
        if change is fuse_qdq:  # rounds elsewhere: its own tests hold it to one step
            continue
        graph = change(graph)
        verify(graph)
        alike(run(graph, inputs), wanted, change.__name__)
    quantized = fuse_qdq(graph)
    verify(quantized)
    for each in (graph, quantized):
        program = lower(each)
        outputs = {name: np.empty(told.shape, told.dtype) for name, told in program.outputs}
        Executor(program).run([inputs["x"]], list(outputs.values()))
        for name, array in run(each, inputs).items():
            assert np.array_equal(outputs[name], array, equal_nan=True)
        Machine(assembled(program, kernels().isa), kernels()).run([inputs["x"]], list(outputs.values()))
        alike(outputs, run(each, inputs), "kernels")


def alike(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray], stage: str) -> None:
    """Equal to rounding, but for values on the edge of a quantized step."""
    for name, array in wanted.items():
        close = np.isclose(got[name], array, rtol=1e-3, atol=1e-4, equal_nan=True)
        assert close.mean() > 0.97 or array.size < 40, (stage, name)
        scale = max(1.0, float(np.abs(array[np.isfinite(array)]).max(initial=0)))
        assert np.allclose(got[name][~close], array[~close], atol=0.5 * scale, rtol=0.2, equal_nan=True), (stage, name)
