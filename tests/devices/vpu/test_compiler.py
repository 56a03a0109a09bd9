"""What a program is made of, what is refused and how it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from devices.engine import EngineError
from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, GraphError, Quantization, Type
from devices.native.passes import optimize
from devices.native.reference import run
from devices.vpu.compiler import Refused, compile_model, lacks, lower
from devices.vpu.emitter import even_parts
from devices.vpu.emulator import Emulator
from devices.vpu.instructions import Load, Store
from devices.vpu.machine import Machine
from tests.devices.vpu.network import save_network

Q = Quantization((0.05,), (10,))
LOCAL = 2**16


def picture(b: Builder, *shape: int, name: str = "x") -> str:
    return b.input(name, Type("uint8", shape, quantization=Q))


def weights(b: Builder, *shape: int, scale: float = 0.01, value: int = 1, zero: int = 0) -> tuple[str, str]:
    array = np.full(shape, value, np.int8)
    return b.constant(array, "w", Quantization((scale,), (zero,))), b.constant(np.zeros(shape[0], np.int32), "bias")


def results(graph: Graph, local_bytes: int = LOCAL) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the program gives, and what the reference does, for one random input."""
    graph = optimize(graph)
    program = lower(graph, local_bytes)
    random = np.random.default_rng(0)
    inputs = {name: random.integers(0, 256, graph.types[name].shape).astype(np.uint8) for name in graph.inputs}
    made = [np.zeros(port.nbytes, np.uint8) for port in program.outputs]
    Emulator(program, Machine()).run([inputs[port.name].reshape(-1) for port in program.inputs], made)
    expected = run(graph, inputs)
    return {port.name: each.reshape(port.shape) for port, each in zip(program.outputs, made, strict=True)}, expected


def test_movement_is_exact() -> None:
    b = Builder()
    x = picture(b, 1, 4, 6, 5)
    flipped = b.add(ops.Slice((2, 3), (5, 0), (-2, 2), (3, 3)), x)
    grown = b.add(ops.Resize((2, 3), (9, 6), (3.0, 2.0), "nearest", "asymmetric", "floor"), flipped)
    joined = b.add(ops.Concat(1), grown, grown)
    padded = b.add(ops.Pad((0, 1, 0, 2), (0, 0, 3, 0), "constant", 7.0), joined)
    moved = b.add(ops.Transpose((0, 3, 1, 2)), padded)
    repeated = b.add(ops.Tile((1, 1, 2, 2)), moved)
    got, expected = results(b.graph([("y", repeated), ("same", x), ("again", padded)]), 320)
    for name, array in expected.items():
        assert np.array_equal(got[name], array), name


def test_a_value_is_broadcast_along_either_side() -> None:
    b = Builder()
    x, column = picture(b, 1, 6, 5, 4), picture(b, 1, 6, 1, 1, name="column")
    row = picture(b, 1, 1, 5, 4, name="row")
    y = b.add(ops.QMul(Q), b.add(ops.QAdd(Q), x, column), row)
    got, expected = results(b.graph([("y", y)]), 330)
    assert np.abs(got["y"].astype(int) - expected["y"].astype(int)).max() <= 1
    with pytest.raises(GraphError, match="expected at least 320"):
        lower(b.graph([("y", y)]), 319)


def test_what_tiles_share_is_loaded_once() -> None:
    b = Builder()
    x = picture(b, 1, 8, 16, 16)
    y = b.add(ops.QConv(ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1)), Q), x, *weights(b, 64, 8, 1, 1))
    program = lower(optimize(b.graph([("y", y)])), 4096)
    loads = [each for each in program.instructions if isinstance(each, Load)]
    stored = sum(each.n0 * each.n1 * each.n2 for each in program.instructions if isinstance(each, Store))
    assert stored == 2 * 64 * 256 + 8 * 256  # its own, and the changes of layout around it
    inside = [each for each in loads if each.space != 2]
    assert sum(each.n0 * each.n1 * each.n2 for each in inside if each.space == 0) < 3 * (64 * 8 + 64 * 16)


@pytest.mark.parametrize("zero", [0, 255])
def test_a_sum_that_may_pass_32_bits_is_refused(zero: int) -> None:
    b = Builder()
    x = b.input("x", Type("uint8", (1, 2**17, 1, 1), quantization=Quantization((0.05,), (zero,))))
    y = b.add(ops.QConv(ops.Window((1, 1), (1, 1), (0,) * 4, (1, 1)), Q), x, *weights(b, 1, 2**17, 1, 1, value=-128, zero=100))
    with pytest.raises(Refused, match=r"QConv \(expected sums below 2\^31, got weights with which they can reach \d+\)"):
        lower(optimize(b.graph([("y", y)])), 2**20)


def test_one_value_must_fit_the_local_memory() -> None:
    b = Builder()
    x = picture(b, 1, 600, 3, 3)
    y = b.add(ops.QConv(ops.Window((3, 3), (1, 1), (0,) * 4, (1, 1)), Q), x, *weights(b, 2, 600, 3, 3))
    with pytest.raises(Refused, match="expected at most 4096 bytes of local memory for one output value, got"):
        lower(optimize(b.graph([("y", y)])), 4096)


def test_scales_that_no_factor_stands_for() -> None:
    b = Builder()
    y = b.add(ops.QAdd(Quantization((1e-9,), (0,))), picture(b, 1, 2, 2, 2), picture(b, 1, 2, 2, 2, name="z"))
    with pytest.raises(Refused, match="its scales: expected a factor from 0 to"):
        lower(optimize(b.graph([("y", y)])), LOCAL)


def test_float_operators_are_named(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", softmax=True)
    assert lacks(path, LOCAL) == ("Softmax over float32 (node 'last')",)
    with pytest.raises(EngineError, match=r"vpu: .*net.onnx: it cannot run Softmax over float32 \(node 'last'\)"):
        compile_model(path, {}, LOCAL)
    assert lacks(save_network(tmp_path / "whole.onnx"), LOCAL) == ()


def test_a_float_model_is_refused_by_its_operators(save_model: Callable[..., Path]) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"], "one"), helper.make_node("Relu", ["a"], ["y"], "two")]
    path = save_model(nodes, [("x", "float32", (1, 3))], [("y", "float32", (1, 3))])
    (said,) = lacks(path, LOCAL)
    assert said.startswith("Unary relu over float32 (node 'one'")
    path = save_model([helper.make_node("Identity", ["x"], ["y"])], [("x", "float32", (1, 3))], [("y", "float32", (1, 3))])
    assert lacks(path, LOCAL) == ("output of float32 that no quantized operator makes (node 'y')",)
    path = save_model([helper.make_node("Det", ["x"], ["y"])], [("x", "float32", (3, 3))], [("y", "float32", ())])
    assert lacks(path, LOCAL) == ("Det",)


@pytest.mark.parametrize("batch", ["n", 3])
def test_batches(tmp_path: Path, batch: int | str) -> None:
    path = save_network(tmp_path / "net.onnx", batch=batch)
    assert lacks(path, LOCAL) == ()
    program = compile_model(path, {"n": 3} if batch == "n" else {}, LOCAL)
    assert program.inputs[0].shape == (3, 3, 8, 8)
    single = compile_model(save_network(tmp_path / "single.onnx"), {}, LOCAL)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 192), dtype=np.uint8)
    together, alone = np.zeros(9, np.uint8), np.zeros((3, 3), np.uint8)
    Emulator(program, Machine()).run([pixels.reshape(-1)], [together])
    for item in range(3):
        Emulator(single, Machine()).run([pixels[item]], [alone[item]])
    assert np.array_equal(together.reshape(3, 3), alone)
    assert len(np.unique(alone, axis=0)) == 3


def test_real_models(data: Path) -> None:
    models = data / "models"
    for name in ("mbv2_qop_u8s8pc", "det320_qdq_u8s8pc"):
        assert lacks(models / "bench" / f"{name}.onnx", 2**19) == ()
    assert lacks(models / "mobilenetv2_12_qdq.onnx", 2**19) == ("Binary add over float32 (node 'Add_26' and 9 more)",)


def test_a_value_without_elements() -> None:
    b = Builder()
    x = b.input("x", Type("uint8", (0, 4), quantization=Q))
    weight = b.constant(np.ones((4, 3), np.int8), "w", Quantization((0.01,), (0,)))
    y = b.add(ops.QDense(Q), x, weight, b.constant(np.zeros(3, np.int32)))
    with pytest.raises(Refused, match=r"value has no elements"):
        lower(b.graph([("y", y)]), LOCAL)


def test_programs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.vpu.emitter.MOST_INSTRUCTIONS", 20)
    b = Builder()
    x = picture(b, 1, 8, 16, 16)
    y = b.add(ops.QConv(ops.Window((3, 3), (1, 1), (1,) * 4, (1, 1)), Q), x, *weights(b, 64, 8, 3, 3))
    with pytest.raises(Refused, match="expected a program of at most 20 instructions, got more"):
        lower(optimize(b.graph([("y", y)])), 2048)


def test_parts_are_even_and_each_once() -> None:
    assert even_parts(7) == [7, 4, 3, 2, 1]
    assert all(even_parts(count) == list(dict.fromkeys(-(-count // number) for number in range(1, count + 1))) for count in range(1, 80))
    assert len(even_parts(2**24)) < 2**14
