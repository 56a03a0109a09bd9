"""Programs run by compiled kernels give what the reference gives: 8-bit ones bit for bit, on every instruction set of this machine."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.arrays import aligned
from devices.native.assemble import assembled
from devices.native.crew import Crew
from devices.native.execute import Executor
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Op, Quantization, Type
from devices.native.isa import runnable
from devices.native.kernels import Library, ensure, library
from devices.native.lower import lower
from devices.native.machine import Machine
from devices.native.memory import Buffer, MemoryPlan
from devices.native.passes import optimize
from devices.native.passes.batch import open_batch

Q, OTHER, OUT = Quantization((0.03,), (120,)), Quantization((0.021,), (87,)), Quantization((0.05,), (7,))


@pytest.fixture(scope="module", params=[isa.name for isa in runnable()])
def kernels(request: pytest.FixtureRequest) -> Library:
    isa = next(isa for isa in runnable() if isa.name == request.param)
    ensure(isa)
    return library(isa)


class Net(Builder):
    """A builder of small networks, with random constants."""

    def __init__(self, items: int = 1) -> None:
        super().__init__()
        self.items = items
        self.random = np.random.default_rng(0)

    def normal(self, *shape: int) -> str:
        return self.constant(self.random.standard_normal(shape).astype(np.float32))

    def image(self, channels: int, name: str = "x", size: tuple[int, int] = (7, 9)) -> str:
        """An image with channels last in memory, as the middle of a network has it."""
        x = self.input(name, Type("float32", (self.items, *size, channels)))
        return self.add(ops.Unary("tanh"), self.add(ops.Transpose((0, 3, 1, 2)), x))

    def quantized(self, x: str, q: Quantization = Q) -> str:
        return self.add(ops.Quantize(q), x)

    def conv(self, x: str, outs: int, window: ops.Window, *, group: int = 1, activation: ops.Unary | None = None) -> str:
        weight = self.normal(outs, self.types[x].channels // group, *window.kernel)
        return self.add(ops.Conv(window, group, activation), x, weight, self.normal(outs))

    def q_conv(self, x: str, outs: int, window: ops.Window, *, group: int = 1, zero: int = 0, low: int = 0) -> str:
        shape = (outs, self.types[x].channels // group, *window.kernel)
        scales = tuple(float(np.float32(value)) for value in self.random.uniform(0.001, 0.004, outs))
        stored = self.random.integers(-128, 128, shape).astype(np.int8)
        weight = self.constant(stored, "w", Quantization(scales, (zero,) * outs, 0))
        bias = self.constant(self.random.integers(-900, 900, outs).astype(np.int32))
        return self.add(ops.QConv(window, OUT, group, low=low), x, weight, bias)

    def real_conv(self, x: str, outs: int, window: ops.Window) -> str:
        self.q_conv(x, outs, window)
        return self.add(ops.RealConv(window), *self.nodes[-1].inputs)

    def real_dense(self, x: str, outs: int) -> str:
        scales = tuple(float(np.float32(value)) for value in self.random.uniform(0.001, 0.004, outs))
        stored = self.random.integers(-128, 128, (self.types[x].shape[-1], outs)).astype(np.int8)
        weight = self.constant(stored, "w", Quantization(scales, (0,) * outs, 1))
        return self.add(ops.RealDense(), x, weight, self.constant(self.random.integers(-900, 900, outs).astype(np.int32)))


def window(kernel: int = 3, stride: int = 1, pads: tuple[int, ...] = (1, 1, 1, 1), dilation: int = 1) -> ops.Window:
    return ops.Window((kernel,) * 2, (stride,) * 2, pads, (dilation,) * 2)


def head(b: Net, name: str) -> str:
    """What a detector's head gives: a row of six numbers for each pixel."""
    conv = b.conv(b.image(20, name), 6, ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1)))
    return b.add(ops.View((b.items, 63, 6)), b.add(ops.Transpose((0, 2, 3, 1)), conv))


Build = Callable[[Net], str]
POINT, HALF = window(1, 1, (0,) * 4), window(3, 2, (0, 1, 1, 0))

CASES: dict[str, Build] = {
    **{f"q conv {c} to {o}": lambda b, c=c, o=o: b.q_conv(b.quantized(b.image(c)), o, window())  # type: ignore[misc]
       for c, o in ((1, 5), (3, 16), (17, 33), (32, 24))},
    "q conv point": lambda b: b.q_conv(b.quantized(b.image(24)), 40, POINT),
    "q conv stride": lambda b: b.q_conv(b.quantized(b.image(20)), 12, HALF),
    "q conv dilated": lambda b: b.q_conv(b.quantized(b.image(20)), 12, window(3, 1, (2, 0, 1, 2), 2)),
    "q conv weight zero": lambda b: b.q_conv(b.quantized(b.image(20)), 18, window(), zero=-9, low=7),
    "q conv point stride": lambda b: b.q_conv(b.quantized(b.image(20)), 18, window(1, 2, (0,) * 4)),
    **{f"q depthwise {c} {k} {s}": lambda b, c=c, k=k, s=s: b.q_conv(b.quantized(b.image(c)), c, window(k, s, (k // 2,) * 4), group=c)  # type: ignore[misc]
       for c in (5, 16, 33) for k, s in ((3, 1), (3, 2), (5, 1), (4, 1))},
    **{f"real conv {c} to {o}": lambda b, c=c, o=o: b.real_conv(b.quantized(b.image(c)), o, window())  # type: ignore[misc]
       for c, o in ((3, 16), (17, 33))},
    "real conv point": lambda b: b.real_conv(b.quantized(b.image(24)), 40, POINT),
    "real picture": lambda b: b.real_conv(b.quantized(b.input("x", Type("float32", (b.items, 3, 8, 9)))), 16, HALF),
    "real dense": lambda b: b.real_dense(b.quantized(b.input("x", Type("float32", (b.items, 37)))), 19),
    **{f"conv {c} to {o}": lambda b, c=c, o=o: b.conv(b.image(c), o, window()) for c, o in ((1, 5), (3, 16), (17, 33), (32, 24))},  # type: ignore[misc]
    "conv point relu": lambda b: b.conv(b.image(24), 40, POINT, activation=ops.Unary("relu")),
    "conv silu": lambda b: b.conv(b.image(24), 40, HALF, activation=ops.Unary("silu")),
    "conv residual": lambda b: b.add(ops.Unary("clip", (0.0, 6.0)), b.add(ops.Binary("add"), x := b.image(20), b.conv(x, 20, window()))),
    "conv residual swish": lambda b: b.add(ops.Unary("hardswish"), b.add(ops.Binary("add"), b.conv(x := b.image(20), 20, POINT), x)),
    **{f"depthwise {c} {k} {s}": lambda b, c=c, k=k, s=s: b.conv(b.image(c), c, window(k, s, (k // 2,) * 4), group=c)  # type: ignore[misc]
       for c in (5, 16, 33) for k, s in ((3, 1), (5, 2), (4, 1))},
    "picture from nchw": lambda b: b.q_conv(b.quantized(b.input("x", Type("float32", (b.items, 3, 8, 9)))), 16, HALF),
    "float picture": lambda b: b.conv(b.input("x", Type("float32", (b.items, 3, 8, 9))), 16, HALF),
    "q add": lambda b: b.add(ops.QAdd(OUT, 9, 200), b.quantized(b.image(20)), b.quantized(b.image(20, "z"), OTHER)),
    "q add vector": lambda b: b.add(ops.QAdd(OUT), b.quantized(b.image(20)), b.constant(np.full((20, 1, 1), 99, np.uint8), "c", OTHER)),
    "q mul": lambda b: b.add(ops.QMul(OUT), b.quantized(b.image(20)), b.quantized(b.image(20, "z"), OTHER)),
    "q mean": lambda b: b.add(ops.QMean(OUT), b.quantized(b.image(20))),
    "table": lambda b: b.add(ops.Table(OUT), b.quantized(b.image(20)), b.constant(np.arange(256, dtype=np.uint8)[::-1].copy())),
    "max pool": lambda b: b.add(ops.MaxPool(HALF), b.image(20)),
    "q max pool": lambda b: b.add(ops.MaxPool(HALF), b.quantized(b.image(20))),
    "average pool": lambda b: b.add(ops.AveragePool(HALF), b.image(20)),
    "average pool padding": lambda b: b.add(ops.AveragePool(window(3, 2, (1, 0, 2, 1)), True, (1, 0)), b.image(20)),
    "mean": lambda b: b.add(ops.Reduce("mean", (2, 3)), b.image(20)),
    "mean dropped": lambda b: b.add(ops.Reduce("mean", (2, 3), keep=False), b.image(20)),
    "gate": lambda b: b.add(ops.Binary("mul"), x := b.image(20), b.add(ops.Unary("sigmoid"), b.add(ops.Reduce("mean", (2, 3)), x))),
    "sums": lambda b: b.add(ops.Binary("div"), b.add(ops.Binary("sub"), b.image(20), b.normal(20, 1, 1)), b.scalar(3)),
    "left vector": lambda b: b.add(ops.Binary("sub"), b.normal(1, 20, 1, 1), b.image(20)),
    **{f"curve {op.kind}": lambda b, op=op: b.add(op, b.image(20)) for op in (  # type: ignore[misc]
        ops.Unary("sigmoid"), ops.Unary("silu"), ops.Unary("hardswish"), ops.Unary("exp"), ops.Unary("leakyrelu", (0.1,)),
        ops.Unary("hardsigmoid", (0.2, 0.5)), ops.Unary("relu"))},
    "resize": lambda b: b.add(ops.Resize((2, 3), (14, 18), (2.0, 2.0), "nearest", "asymmetric", "floor"), b.image(20)),
    "pad": lambda b: b.add(ops.Pad((0, 0, 1, 2), (0, 0, 0, 3), "constant", 0.5), b.image(20)),
    "concat channels": lambda b: b.add(ops.Concat(1), b.image(20), b.image(3, "y"), b.image(17, "z")),
    "concat rows": lambda b: b.add(ops.Concat(2), b.image(20), b.image(20, "z")),
    "slice channels": lambda b: b.add(ops.Slice((1,), (3,), (1,), (11,)), b.image(20)),
    "slice columns": lambda b: b.add(ops.Slice((3,), (2,), (1,), (4,)), b.image(20)),
    "concat heads": lambda b: b.add(ops.Softmax(2), b.add(ops.Concat(1), head(b, "x"), head(b, "y"))),
    "dense": lambda b: b.add(ops.Dense(ops.Unary("relu")), b.input("x", Type("float32", (b.items, 37))), b.normal(37, 19), b.normal(19)),
    "dense rows": lambda b: b.add(ops.Dense(), b.input("x", Type("float32", (b.items, 6, 37))), b.normal(37, 19), b.normal(19)),
    "softmax": lambda b: b.add(ops.Softmax(1), b.input("x", Type("float32", (b.items, 37)))),
    "head": lambda b: b.add(ops.View((b.items, 7 * 9 * 3, 2)), b.add(ops.Transpose((0, 2, 3, 1)), b.conv(b.image(20), 6, POINT))),
    **{f"prelu {'one' if size == 1 else 'each'}": lambda b, size=size: b.add(ops.Binary("prelu"), b.image(20), b.normal(size, 1, 1))  # type: ignore[misc]
       for size in (1, 20)},
    "prelu rows": lambda b: b.add(ops.Binary("prelu"), b.input("x", Type("float32", (b.items, 7, 5))), b.normal(1)),
    **{kind: lambda b, kind=kind: b.add(ops.Unary(kind, (0.0,) if kind == "gelu" else ()), b.image(20)) for kind in ("erf", "gelu")},  # type: ignore[misc]
    **{f"row {kind} {keep}": lambda b, kind=kind, keep=keep: b.add(  # type: ignore[misc]
        ops.Reduce(kind, (2,), keep), b.input("x", Type("float32", (b.items, 20, 37)))
    ) for kind in ("max", "min") for keep in (True, False)},
    "chosen": lambda b: b.add(
        ops.Where(), b.add(ops.Binary("less"), x := b.input("x", Type("float32", (b.items, 7, 5))), b.input("z", Type("float32", ()))), x,
        b.add(ops.Unary("tanh"), x),
    ),
    "layer norm": lambda b: b.add(ops.LayerNorm(2, 1e-5), b.input("x", Type("float32", (b.items, 6, 37))), b.normal(37), b.normal(37)),
    **{f"matmul {m} {k} {n}": lambda b, m=m, k=k, n=n: b.add(  # type: ignore[misc]
        ops.MatMul(), b.input("x", Type("float32", (b.items, 3, m, k))),
        b.add(ops.Unary("tanh"), b.input("z", Type("float32", (b.items, 3, k, n)))),
    ) for m, k, n in ((1, 1, 1), (7, 17, 16), (13, 48, 33), (20, 5, 96))},
    "attention": lambda b: b.add(ops.MatMul(), b.add(ops.Softmax(2), b.add(
        ops.MatMul(), x := b.add(ops.Unary("tanh"), b.input("x", Type("float32", (b.items, 9, 20)))), b.add(ops.Transpose((0, 2, 1)), x)
    )), x),
    **{f"resize {mode} {sizes}": lambda b, mode=mode, sizes=sizes: b.add(  # type: ignore[misc]
        ops.Resize((2, 3), sizes, (sizes[0] / 7, sizes[1] / 9), mode), b.image(20)
    ) for mode in ("linear", "cubic") for sizes in ((14, 18), (5, 4), (1, 30))},
    "resize rows": lambda b: b.add(ops.Resize((2,), (9,), (9 / 7,), "linear"), b.image(20)),
    **{f"transposed conv {k} {s}": lambda b, k=k, s=s: b.add(  # type: ignore[misc]
        ops.ConvTranspose(window(k, s, (0, 1, 1, 0)), (s - 1, 0), activation=ops.Unary("relu")), b.image(20), b.normal(20, 9, k, k),
        b.normal(9),
    ) for k, s in ((3, 2), (2, 1), (4, 2))},
    "transposed conv unfolded": lambda b: b.add(
        ops.ConvTranspose(window(2, 2, (0,) * 4), (0, 0), activation=ops.Unary("sigmoid")), b.image(20), b.normal(20, 3, 2, 2), b.normal(3)
    ),
    "channels picked": lambda b: b.add(ops.Gather(1), b.image(20), b.constant(np.array([3, -1, 2], np.int64))),
    "channel picked": lambda b: b.add(ops.Gather(1), b.image(20), b.constant(np.array(7, np.int64))),
    "every second channel": lambda b: b.add(ops.Slice((1,), (1,), (2,), (9,)), b.image(20)),
    "backwards": lambda b: b.add(ops.Slice((1, 2, 3), (18, 6, 1), (-3, -1, 2), (5, 7, 4)), b.image(20)),
    "slice of bytes": lambda b: b.add(ops.Slice((1, 3), (1, 8), (2, -2), (9, 4)), b.quantized(b.image(20))),
    "channels added": lambda b: b.add(ops.Pad((0, 3, 0, 0), (0, 9, 0, 0), value=0.5), b.image(20)),
    "any order": lambda b: b.add(ops.Transpose((0, 2, 1, 3)), b.input("x", Type("float32", (b.items, 5, 6, 18)))),
    "repeated": lambda b: b.add(ops.Broadcast((b.items, 5, 7, 9)), b.input("x", Type("float32", (b.items, 5, 1, 9)))),
    "picture from rows": lambda b: b.conv(b.add(ops.Transpose((0, 3, 1, 2)), b.input("x", Type("float32", (b.items, 8, 9, 3)))), 16, HALF),
    "picture from any order": lambda b: b.conv(
        b.add(ops.Transpose((0, 1, 3, 2)), b.input("x", Type("float32", (b.items, 3, 9, 8)))), 16, HALF
    ),
    "shuffle": lambda b: b.add(ops.Gather(0), b.add(ops.View((2, 1, 10, 7, 9)), b.add(ops.Transpose((1, 0, 2)), b.add(
        ops.View((10, 2, 63)), b.image(20)
    ))), b.constant(np.array(1, np.int64))),
    "flat": lambda b: b.add(ops.View((b.items, 20 * 63)), b.conv(b.image(9), 20, POINT)),
}  # fmt: skip


def made(build: Build, items: int = 1) -> Graph:
    b = Net(items)
    y = build(b)
    if b.types[y].quantization is not None:  # what is stored, and what it stands for
        return b.graph([("y", y), ("real", b.add(ops.Dequantize(), y))])
    return b.graph([("y", b.add(ops.Unary("tanh"), y))])


def compare(graph: Graph, kernels: Library, items: int = 1) -> Machine:
    program = lower(optimize(graph)).at(items)
    random = np.random.default_rng(3)
    inputs = [random.standard_normal(told.shape).astype(told.dtype) for _, told in program.inputs]
    wanted, got = ([np.zeros(told.shape, told.dtype) for _, told in program.outputs] for _ in range(2))
    Executor(program).run(inputs, wanted)
    machine = Machine(assembled(program, kernels.isa), kernels)
    machine._arena[:] = 0xA5  # what lies in the padding must not matter
    for _ in range(2):
        machine.run(inputs, got)
    for mine, want in zip(got, wanted, strict=True):
        if any(isinstance(step.op, ops.QConv | ops.QAdd | ops.QMul | ops.QMean | ops.Table) for step in program.steps):
            assert np.array_equal(mine, want)
        else:
            np.testing.assert_allclose(mine, want, rtol=1e-4, atol=1e-5)
    return machine


@pytest.mark.parametrize("name", CASES)
def test_kernels_give_what_the_reference_gives(name: str, kernels: Library) -> None:
    assert compare(made(CASES[name]), kernels).interpreted == 0


@pytest.mark.parametrize(
    "name", ["q conv 17 to 33", "q depthwise 33 3 1", "conv 17 to 33", "picture from nchw", "q mean", "concat channels", "head"]
)
def test_several_items(name: str, kernels: Library) -> None:
    graph = open_batch(made(CASES[name]), made(CASES[name], 2))
    assert graph is not None
    compare(graph, kernels, 3)


WITHOUT: list[tuple[Op, tuple[str, ...]]] = [
    (ops.Unary("log"), ()), (ops.Softmax(2), ()), (ops.Softmax(1, log=True), ()), (ops.Reduce("max", (2,)), ()),
    (ops.Resize((1,), (9,), (9 / 20,), "linear"), ()), (ops.Binary("max"), ("s",)), (ops.LayerNorm(2, 1e-5), ("t", "t")),
]  # fmt: skip


@pytest.mark.parametrize("keep", [True, False])
def test_places_of_the_largest(keep: bool, kernels: Library) -> None:
    b = Net()
    x = b.add(ops.Unary("tanh"), b.input("x", Type("float32", (1, 6, 37))))
    machine = compare(b.graph([("y", b.add(ops.Arg("max", 2, keep), x))]), kernels)
    assert machine.interpreted == 0


def test_parts_are_joined_where_the_caller_wants_them(kernels: Library, feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Net()
    joined = b.add(ops.Concat(1), head(b, "x"), b.normal(1, 5, 6), head(b, "y"), b.input("z", Type("float32", (1, 2, 6))))
    machine = compare(b.graph([("y", joined), ("cut", b.add(ops.Slice((1,), (60,), (1,), (70,)), joined))]), kernels)
    assert machine.interpreted == 0


@pytest.mark.parametrize(("op", "others"), WITHOUT, ids=lambda value: type(value).__name__)
def test_what_has_no_kernel_is_left_to_the_reference(op: Op, others: tuple[str, ...], kernels: Library) -> None:
    b = Net()
    x = b.conv(b.image(20, size=(7, 9)), 20, POINT)
    more = {"s": b.normal(9), "t": b.normal(7, 9)}
    y = b.add(ops.Unary("tanh"), b.add(op, x, *(more[name] for name in others)))
    machine = compare(b.graph([("y", y)]), kernels)
    assert 1 <= machine.interpreted <= 2
    assert machine.compiled


@pytest.mark.parametrize(
    "name", ["q conv 17 to 33", "q depthwise 33 3 1", "conv residual", "picture from nchw", "q mean", "concat heads", "real dense"]
)
def test_threads_together_give_what_one_gives(name: str, kernels: Library) -> None:
    program = lower(optimize(made(CASES[name])))
    inputs = [np.random.default_rng(0).standard_normal(told.shape).astype(told.dtype) for _, told in program.inputs]
    wanted, got = ([np.zeros(told.shape, told.dtype) for _, told in program.outputs] for _ in range(2))
    Machine(assembled(program, kernels.isa), kernels).run(inputs, wanted)
    for size in (2, 3):
        crew = Crew(size, kernels)
        machine = Machine(assembled(program, kernels.isa), kernels, crew)
        for _ in range(20):
            for array in got:
                array[...] = 0
            machine.run(inputs, got)
            assert all(np.array_equal(mine, want) for mine, want in zip(got, wanted, strict=True))
        crew.close()


def test_a_crew_ends_with_those_who_refer_to_it(kernels: Library) -> None:
    others = set(threading.enumerate())
    crew = Crew(3, kernels)
    mine = set(threading.enumerate()) - others
    assert len(mine) == 2
    del crew
    for thread in mine:
        thread.join(10)
        assert not thread.is_alive()


def test_a_step_whose_sums_could_leave_int32_is_left_to_the_reference(kernels: Library, feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Net()
    weight = b.constant(np.full((16, 16, 1, 1), 127, np.int8), "w", Quantization((1e6,), (0,)))
    x = b.quantized(b.image(16))
    y = b.add(ops.QConv(POINT, OUT), x, weight, b.constant(np.zeros(16, np.int32)))
    graph = b.graph([("y", y)])
    program = lower(optimize(graph))
    assert Machine(assembled(program, kernels.isa), kernels).interpreted == 1


def test_the_callers_arrays_are_only_read_and_written_where_they_are(kernels: Library) -> None:
    """Inputs stay as they are, and nothing is written beyond an output."""
    program = lower(optimize(made(CASES["head"])))
    x: Any = np.random.default_rng(0).standard_normal(program.inputs[0][1].shape).astype(np.float32)
    before, told = x.copy(), program.outputs[0][1]
    held = np.full(told.nbytes + 256, 0x5A, np.uint8)
    Machine(assembled(program, kernels.isa), kernels).run([x], [held[128 : 128 + told.nbytes].view(np.float32).reshape(told.shape)])
    assert np.array_equal(x, before)
    assert set(held[:128]) == set(held[-128:]) == {0x5A}


@pytest.mark.parametrize("name", ["picture from nchw", "float picture"])
def test_pictures_are_read_where_they_are_and_not_past_their_end(name: str, kernels: Library, tmp_path: Path) -> None:
    """What follows the array is memory that nobody can read; another array is read the next time."""
    path, page = tmp_path / "pictures", mmap.PAGESIZE
    path.write_bytes(bytes(2 * page))
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 2 * page)
        file.truncate(page)
    program = lower(optimize(made(CASES[name])))
    machine = Machine(assembled(program, kernels.isa), kernels)
    told = program.inputs[0][1]
    for seed in range(3):
        picture = np.random.default_rng(seed).standard_normal(told.shape).astype(np.float32)
        last = np.frombuffer(memory, np.float32, picture.size, page - picture.nbytes).reshape(told.shape)
        last[...] = picture
        results = [[np.zeros(out.shape, out.dtype) for _, out in program.outputs] for _ in range(3)]
        machine.run([last], results[0])
        machine.run([picture], results[1])
        Executor(program).run([picture], results[2])
        for there, here, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(there, here)
            np.testing.assert_allclose(here, expected, rtol=1e-5, atol=1e-5)


def test_canaries_between_neighbours_live(kernels: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value in a place of its own, with bytes before and after it that nobody may write."""
    held: list[tuple[int, int]] = []

    def spread(buffers: Sequence[Buffer]) -> MemoryPlan:
        held.clear()
        end = 64
        for buffer in buffers:
            held.append((end, end + aligned(buffer.nbytes)))
            end = held[-1][1] + 64
        return MemoryPlan({buffer.name: start for buffer, (start, _) in zip(buffers, held, strict=True)}, end, end)

    monkeypatch.setattr("devices.native.lower.plan", spread)
    for name, build in CASES.items():
        machine = compare(made(build), kernels)
        written = np.zeros(len(machine._arena), bool)
        for start, end in held:
            written[start:end] = True
        assert set(machine._arena[~written]) == {0xA5}, name


def test_no_call_leaves_its_buffers() -> None:
    """Kernels that trap on an access outside of the buffers that they are told, in a process that this would end."""
    ensure(checked=True)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, __file__], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, timeout=150
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == [str(len(CASES))]


if __name__ == "__main__":
    for case in CASES.values():
        compare(made(case), library(checked=True))
    print(len(CASES))


@pytest.mark.parametrize("floats", [True, False])
def test_programs_for_several_items_share_packed_weights(floats: bool, kernels: Library) -> None:
    """One row alone would take another tile than several."""
    graphs = []
    for items in (1, 2):
        b = Net(items)
        x = b.input("x", Type("float32", (items, 200)))
        if floats:
            y = b.add(ops.Dense(), x, b.normal(200, 300), b.normal(300))
        else:
            weight = b.constant(b.random.integers(-128, 128, (200, 300)).astype(np.int8), "w", Quantization((0.002,), (0,)))
            y = b.add(ops.QDense(OUT), b.quantized(x), weight, b.constant(np.zeros(300, np.int32)))
        graphs.append(b.graph([("y", y)]))
    graph = open_batch(*map(optimize, graphs))
    assert graph is not None
    program, weights = lower(graph), 200 * 300 * (4 if floats else 1)
    image = assembled(program, kernels.isa)
    assert len(image.variants) == 2
    assert weights <= image.nbytes < 1.2 * weights
    for items in image.variants:
        rows = np.random.default_rng(1).standard_normal((items, 200)).astype(np.float32)
        got, wanted = (np.zeros((items, 300), program.outputs[0][1].dtype) for _ in range(2))
        Machine(image, kernels, items=items).run([rows], [got])
        Executor(program.at(items)).run([rows], [wanted])
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
