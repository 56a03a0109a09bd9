from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.arrays import SLACK
from devices.native.execute import Executor, Kernel, reference_kernel
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Type
from devices.native.lower import Operand, Program, Step, lower
from devices.native.passes import optimize
from devices.native.reference import run

ROW = Type("float32", (16, 16))


def executed(
    program: Program, inputs: dict[str, np.ndarray], provide: Callable[[Step], Kernel | None] | None = None
) -> dict[str, np.ndarray]:
    outputs = {name: np.full(told.shape, 77, told.dtype) for name, told in program.outputs}
    executor = Executor(program, provide)
    for _ in range(2):  # what the first run left behind must not matter
        executor.run([inputs[name] for name, _ in program.inputs], list(outputs.values()))
    return outputs


def same(graph: Graph, inputs: dict[str, np.ndarray]) -> Program:
    before = {name: array.copy() for name, array in inputs.items()}
    program = lower(graph)
    got, wanted = executed(program, inputs), run(graph, inputs)
    for name, array in wanted.items():
        assert np.array_equal(got[name], array), name
    assert all(np.array_equal(inputs[name], array) for name, array in before.items())
    return program


def test_functions_are_computed_where_their_input_lies(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    y = b.add(ops.Transpose((1, 0)), b.input("x", ROW))
    for kind in ("exp", "tanh", "relu"):
        y = b.add(ops.Unary(kind), y)
    y = b.add(ops.Transpose((1, 0)), b.add(ops.Binary("add"), y, b.constant(np.ones((16, 16), np.float32))))
    graph = b.graph([("y", y)])
    program = same(graph, feed(graph))
    assert program.memory.nbytes == ROW.nbytes
    assert [step.code for step in program.steps] == ["Transpose", "Unary", "Unary", "Unary", "Binary", "Transpose"]
    assert program.steps[-1].output.region == "output"


def test_a_value_that_is_read_again_is_not_written_over(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    x = b.add(ops.Transpose((1, 0)), b.input("x", ROW))
    e = b.add(ops.Unary("exp"), x)
    total = b.add(ops.Binary("mul"), b.add(ops.Binary("sub"), x, e), e)
    graph = b.graph([("y", b.add(ops.Transpose((1, 0)), total))])
    assert same(graph, feed(graph)).memory.nbytes == 2 * ROW.nbytes


def test_views_share_memory_and_lifetime(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    x = b.add(ops.Transpose((1, 0)), b.input("x", ROW))
    flat = b.add(ops.View((256,)), x)
    e = b.add(ops.Unary("exp"), x)  # x lives on through its view
    total = b.add(ops.Binary("add"), b.add(ops.View((256,)), e), flat)
    graph = b.graph([("y", b.add(ops.Reduce("sum", (0,)), total))])
    program = same(graph, feed(graph))
    assert "View" not in {step.code for step in program.steps}
    assert program.memory.nbytes == 2 * ROW.nbytes


def test_an_operand_that_is_a_view_of_the_other(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    """x + x transposed through views of the same bytes: written in place it would read what it wrote."""
    b = Builder()
    x = b.add(ops.Unary("exp"), b.add(ops.Transpose((1, 0)), b.input("x", Type("float32", (4, 1)))))
    total = b.add(ops.Binary("add"), b.add(ops.View((4, 1)), x), b.add(ops.View((1, 4)), x))
    graph = b.graph([("y", b.add(ops.Reduce("max", (1,)), total))])
    same(graph, feed(graph))
    b = Builder()
    x = b.add(ops.Transpose((1, 0)), b.input("x", Type("float32", (4, 4))))
    first = b.add(ops.View((1, 4, 4)), x)
    column = b.add(ops.View((4, 4, 1)), x)
    graph = b.graph([("y", b.add(ops.Binary("sub"), first, column))])
    same(graph, feed(graph))


def test_outputs_that_are_inputs_constants_or_one_another(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    x = b.input("x", ROW)
    y = b.add(ops.Unary("exp"), x)
    c = b.constant(np.arange(3, dtype=np.int64), "c")
    outputs = [("x", x), ("turned", b.add(ops.View((256,)), x)), ("c", c), ("y", y), ("y again", y), ("y flat", b.add(ops.View((256,)), y))]
    graph = b.graph([*outputs, ("z", b.add(ops.Unary("neg"), y))])
    program = same(graph, feed(graph))
    assert [step.code for step in program.steps].count("View") == 6


def test_an_output_that_is_read_again(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    y = b.add(ops.Unary("exp"), b.input("x", ROW))
    z = b.add(ops.Unary("neg"), y)
    graph = b.graph([("z", b.add(ops.Unary("tanh"), z)), ("y", y)])
    same(graph, feed(graph))


def test_values_that_nobody_reads(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    x = b.input("x", ROW)
    b.add(ops.Unary("exp"), x)
    graph = b.graph([("y", b.add(ops.Unary("neg"), x))])
    same(graph, feed(graph))


def test_rows_of_matrices_and_images_are_padded(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    x = b.input("x", Type("float32", (1, 3, 5, 7)))
    weight = np.random.default_rng(0).standard_normal((20, 3, 3, 3)).astype(np.float32)
    window = ops.Window((3, 3), (1, 1), (1,) * 4, (1, 1))
    y = b.add(ops.Unary("tanh"), b.add(ops.Conv(window), x, b.constant(weight), b.constant(np.ones(20, np.float32))))
    y = b.add(ops.View((1, 20)), b.add(ops.Reduce("mean", (2, 3)), y))
    y = b.add(ops.Dense(), y, b.constant(np.ones((20, 5), np.float32)), b.constant(np.ones(5, np.float32)))
    graph = optimize(b.graph([("y", y)]))
    program = same(graph, feed(graph))
    assert [(step.code, step.output.region, step.output.stride) for step in program.steps] == [
        ("Transpose", "arena", 4), ("Conv", "arena", 32), ("Reduce", "arena", 32), ("Dense", "arena", 16), ("View", "output", 5),
    ]  # fmt: skip
    assert program.steps[1].output.nbytes == 5 * 7 * 32 * 4
    assert [operand.stride for operand in program.steps[1].inputs] == [4, 3, 20]


def test_the_caller_sees_no_padding(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    """Outputs, and inputs that are images already."""
    b = Builder()
    x = b.input("x", Type("float32", (1, 5, 7, 3)))
    image = b.add(ops.Transpose((0, 3, 1, 2)), x)
    pooled = b.add(ops.MaxPool(ops.Window((2, 2), (1, 1), (0,) * 4, (1, 1))), image)
    graph = optimize(b.graph([("y", b.add(ops.Transpose((0, 2, 3, 1)), pooled)), ("x", image)]))
    program = same(graph, feed(graph))
    assert {operand.stride for step in program.steps for operand in (*step.inputs, step.output) if operand.region != "arena"} == {3, 7}
    assert {step.output.stride for step in program.steps if step.output.region == "arena"} == {16}


def test_constants_lie_in_one_block(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    x = b.add(ops.Binary("add"), b.input("x", ROW), b.constant(np.arange(16, dtype=np.float32)))
    y = b.add(ops.Where(), b.constant(np.arange(16) % 3 == 0), x, b.scalar(7))
    graph = b.graph([("y", y)])
    program = same(graph, feed(graph))
    places = [operand for step in program.steps for operand in step.inputs if operand.region == "constants"]
    assert all(operand.at % 64 == 0 for operand in places)
    assert max(operand.at + operand.type.nbytes for operand in places) + SLACK <= program.constants.nbytes
    with pytest.raises(ValueError, match="read-only"):
        program.constants[0] = 1


def test_a_kernel_takes_the_place_of_the_reference(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    y = b.add(ops.Unary("exp"), b.input("x", ROW))
    graph = b.graph([("y", b.add(ops.Unary("neg"), y))])
    seen: list[Operand] = []

    def provide(step: Step) -> Kernel | None:
        if step.op != ops.Unary("neg"):
            return None
        seen.append(step.output)

        def kernel(inputs: object, output: np.ndarray) -> None:
            output[...] = 5

        return kernel

    assert executed(lower(graph), feed(graph), provide)["y"].tolist() == np.full(ROW.shape, 5).tolist()
    assert seen == [Operand("output", 0, ROW, 16)]


def test_memory_after_the_arena_is_never_written(feed: Callable[..., dict[str, np.ndarray]]) -> None:
    b = Builder()
    y = b.add(ops.Transpose((1, 0)), b.input("x", ROW))
    graph = b.graph([("y", b.add(ops.Transpose((1, 0)), y))])
    executor = Executor(lower(graph), reference_kernel)
    executor._arena[-SLACK:] = 0xA5
    executor.run([feed(graph)["x"]], [np.empty(ROW.shape, np.float32)])
    assert set(executor._arena[-SLACK:]) == {0xA5}


def test_the_digest_tells_programs_apart() -> None:
    def program(kind: str, number: float = 1) -> Program:
        b = Builder()
        y = b.add(ops.Binary(kind), b.input("x", ROW), b.scalar(number))  # type: ignore[arg-type]
        return lower(b.graph([("y", y)]))

    assert len({program("add").digest, program("sub").digest, program("add", 2).digest}) == 3
    assert program("add").digest == program("add").digest
