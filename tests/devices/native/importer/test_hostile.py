"""Files that are damaged or made to do harm: an EngineError that says where, never another exception, a hang or a lot of memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from devices.engine import EngineError
from devices.native.compiler import compile_model
from devices.native.importer import MAX_NODES, import_model, lacks

node = helper.make_node
BIG = 2**40
SHAPE = ("x", "float32", (1, 3, 8, 8))
i64 = lambda *values: np.array(values, np.int64)  # noqa: E731


@pytest.fixture
def small_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


HUGE: list[tuple[str, list[Any], dict[str, np.ndarray]]] = [
    ("filled", [node("ConstantOfShape", ["n"], ["y"])], {"n": i64(BIG)}),
    ("filled product", [node("ConstantOfShape", ["n"], ["y"])], {"n": i64(*[2**31] * 8)}),
    ("filled below 0", [node("ConstantOfShape", ["n"], ["y"])], {"n": i64(-1)}),
    ("expand", [node("Expand", ["x", "n"], ["y"])], {"n": i64(BIG, 3, 8, 8)}),
    ("expand rank", [node("Expand", ["x", "n"], ["y"])], {"n": i64(*[2] * 100)}),
    ("tile", [node("Tile", ["x", "n"], ["y"])], {"n": i64(BIG, BIG, 1, 1)}),
    ("tile below 0", [node("Tile", ["x", "n"], ["y"])], {"n": i64(-1, 1, 1, 1)}),
    ("pad", [node("Pad", ["x", "n"], ["y"])], {"n": i64(0, 0, BIG, 0, 0, 0, BIG, 0)}),
    ("pad away", [node("Pad", ["x", "n"], ["y"])], {"n": i64(0, 0, -BIG, 0, 0, 0, 0, 0)}),
    ("range", [node("Range", ["a", "n", "d"], ["y"])], {"a": np.float32(0), "n": np.float32(1e30), "d": np.float32(1e-30)}),
    ("range nan", [node("Range", ["a", "n", "d"], ["y"])], {"a": np.float32(0), "n": np.float32(np.nan), "d": np.float32(1)}),
    ("range 0", [node("Range", ["a", "n", "d"], ["y"])], {"a": np.float32(0), "n": np.float32(1), "d": np.float32(0)}),
    ("resize", [node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, 1e9, 1e9], np.float32)}),
    ("resize nan", [node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, np.nan, 1], np.float32)}),
    ("resize sizes", [node("Resize", ["x", "", "", "n"], ["y"])], {"n": i64(1, 3, BIG, 8)}),
    ("resize below 0", [node("Resize", ["x", "", "", "n"], ["y"])], {"n": i64(1, 3, -8, 8)}),
    ("reshape", [node("Reshape", ["x", "n"], ["y"])], {"n": i64(*[1] * 1000)}),
    ("reshape overflow", [node("Reshape", ["x", "n"], ["y"])], {"n": i64(2**62, 4, 192)}),
    ("unsqueeze", [node("Unsqueeze", ["x", "n"], ["y"])], {"n": i64(*range(100))}),
    ("unsqueeze far", [node("Unsqueeze", ["x", "n"], ["y"])], {"n": i64(2**62)}),
    ("slice", [node("Slice", ["x", "n", "n", "a", "z"], ["y"])], {"n": i64(0), "a": i64(2), "z": i64(0)}),
    ("gather", [node("Gather", ["x", "n"], ["y"])], {"n": i64(BIG)}),
    ("pool pads", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2**23, 2**23], pads=[2**22] * 4)], {}),
    ("pool kernel", [node("MaxPool", ["x"], ["y"], kernel_shape=[2**20, 2**20], pads=[2**19] * 4)], {}),
    ("pool stride", [node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], strides=[0, 0])], {}),
    ("pool overflow", [node("MaxPool", ["x"], ["y"], kernel_shape=[2**62, 1])], {}),
    ("pool same", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[0, 1], auto_pad="SAME_UPPER")], {}),
    ("conv pads", [node("Conv", ["x", "w"], ["y"], pads=[2**24] * 4)], {"w": np.ones((1, 3, 1, 1), np.float32)}),
    ("conv group", [node("Conv", ["x", "w"], ["y"], group=-1)], {"w": np.ones((1, 3, 1, 1), np.float32)}),
    ("conv group 0", [node("Conv", ["x", "w"], ["y"], group=0)], {"w": np.ones((1, 3, 1, 1), np.float32)}),
    ("conv rank", [node("Conv", ["x", "w"], ["y"])], {"w": np.ones((3,), np.float32)}),
    ("transposed", [node("ConvTranspose", ["x", "w"], ["y"], strides=[2**20, 2**20])], {"w": np.ones((3, 1, 1, 1), np.float32)}),
    ("transposed shape", [node("ConvTranspose", ["x", "w"], ["y"], output_shape=[2**40, 1])], {"w": np.ones((3, 1, 1, 1), np.float32)}),
    ("depth", [node("DepthToSpace", ["x"], ["y"], blocksize=2**31)], {}),
    ("depth 0", [node("SpaceToDepth", ["x"], ["y"], blocksize=0)], {}),
    ("matmul", [node("MatMul", ["a", "b"], ["y"])], {"a": np.ones((2**20, 1), np.float32), "b": np.ones((1, 2**20), np.float32)}),
    ("broadcast", [node("Add", ["a", "b"], ["y"])], {"a": np.ones((2**20, 1), np.float32), "b": np.ones((1, 2**20), np.float32)}),
    ("split", [node("Split", ["x", "n"], ["y", "z"], axis=1)], {"n": i64(-1, 4)}),
    ("zero point", [node("QuantizeLinear", ["x", "s", "z"], ["y"])], {"s": np.ones(3, np.float32), "z": np.zeros(2, np.uint8)}),
    ("zero points", [node("DequantizeLinear", ["w", "s", "z"], ["y"], axis=9)],
     {"w": np.zeros((2, 3), np.int8), "s": np.ones(3, np.float32), "z": np.zeros(3, np.int8)}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "nodes", "constants"), HUGE, ids=[case[0] for case in HUGE])
@pytest.mark.usefixtures("small_memory")
def test_numbers_that_are_too_large(name: str, nodes: list[Any], constants: dict[str, np.ndarray], save_any: Callable[..., Path]) -> None:
    path = save_any(nodes, [SHAPE], [("y", "float32")], constants)
    with pytest.raises(EngineError, match="expected") as caught:
        compile_model(path, {})
    assert f"{path}: node 'y' ({nodes[0].op_type}): " in str(caught.value)


@pytest.mark.usefixtures("small_memory")
def test_inputs_that_are_too_large(save_any: Callable[..., Path]) -> None:
    path = save_any([node("Relu", ["x"], ["y"])], [("x", "float32", (BIG, BIG))], [("y", "float32")])
    with pytest.raises(EngineError, match="input 'x': expected at most 268435456 bytes"):
        compile_model(path, {})
    path = save_any([node("Relu", ["x"], ["y"])], [("x", "float32", (1, "n"))], [("y", "float32")])
    for size in (-1, BIG):
        with pytest.raises(EngineError, match="input 'x': expected"):
            compile_model(path, {"n": size})


@pytest.mark.usefixtures("small_memory")
def test_a_chain_that_doubles(save_any: Callable[..., Path]) -> None:
    nodes = [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(60)]
    path = save_any(nodes, [("v0", "float32", (1, 3))], [("v60", "float32")])
    with pytest.raises(EngineError, match=r"node 'v25' \(Concat\): expected at most"):
        compile_model(path, {})


@pytest.mark.usefixtures("small_memory")
def test_many_large_values_at_once(save_any: Callable[..., Path]) -> None:
    """Each is allowed, all together are not."""
    nodes = [node("Expand", ["x", "n"], ["e"])] + [node("Exp" if i % 2 else "Sin", ["e"], [f"a{i}"]) for i in range(20)]
    nodes += [node("Sum", [f"a{i}" for i in range(20)], ["y"])]
    path = save_any(nodes, [("x", "float32", (1,))], [("y", "float32")], {"n": i64(2**25)})
    with pytest.raises(EngineError, match="expected at most 2147483648 bytes alive while the model runs"):
        compile_model(path, {})


def test_more_nodes_than_any_model_has(save_any: Callable[..., Path]) -> None:
    nodes = [node("Relu", ["x"], [f"y{i}"]) for i in range(MAX_NODES + 1)]
    with pytest.raises(EngineError, match=f"expected at most {MAX_NODES} nodes"):
        compile_model(save_any(nodes, [SHAPE], [("y0", "float32")]), {})


@pytest.mark.usefixtures("small_memory")
def test_a_tensor_that_is_smaller_than_it_says(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2**30, 2**20], float_data=[1.0])
    graph = helper.make_graph([node("Add", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", 1, [1])],
                              [helper.make_tensor_value_info("y", 1, None)], [tensor])  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    with pytest.raises(EngineError, match="initializer 'w': expected data that fit its shape"):
        compile_model(path, {})


def base() -> onnx.ModelProto:
    """A model with a bit of everything."""
    values = np.random.default_rng(0)
    constants = {
        "w": values.standard_normal((4, 3, 3, 3)).astype(np.float32), "b": np.ones(4, np.float32), "shape": i64(1, -1),
        "q": values.integers(-127, 128, (64, 5)).astype(np.int8), "s": np.float32(0.1), "z": np.int8(0), "scales": np.float32([1, 1, 2, 2]),
        "u": np.uint8(3), "starts": i64(1), "ends": i64(9), "axes": i64(2),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]), node("Clip", ["c"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), node("Resize", ["p", "", "scales"], ["up"]),
        node("Concat", ["up", "r"], ["cat"], axis=1), node("Slice", ["cat", "starts", "ends", "axes"], ["cut"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 3, 1]), node("Reshape", ["t", "shape"], ["flat"]),
        node("DequantizeLinear", ["q", "s", "z"], ["dq"]), node("QuantizeLinear", ["flat", "s", "u"], ["fq"]),
        node("DequantizeLinear", ["fq", "s", "u"], ["fd"]), node("MatMul", ["fd", "dq"], ["m"]), node("Softmax", ["m"], ["y"], axis=1),
        node("ReduceMean", ["cut"], ["z1"], axes=[2, 3]), node("Shape", ["cut"], ["z2"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in (("y", 1), ("z1", 1), ("z2", 7))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


NUMBERS = [-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 100, 2**16, 2**31, 2**62]


def spoil(model: onnx.ModelProto, choice: random.Random) -> None:
    """One small piece of damage."""
    graph = model.graph
    target = choice.choice(graph.node)
    names = [*(each.output[0] for each in graph.node), *(each.name for each in graph.initializer), "x", "", "nowhere"]
    match choice.randrange(9):
        case 0 if target.input:
            target.input[choice.randrange(len(target.input))] = choice.choice(names)
        case 1 if target.input:
            del target.input[choice.randrange(len(target.input))]
        case 2 if target.attribute:
            attribute = choice.choice(target.attribute)
            if attribute.ints:
                attribute.ints[choice.randrange(len(attribute.ints))] = choice.choice(NUMBERS)
            attribute.i = choice.choice(NUMBERS)
        case 3:
            graph.node.remove(target)
        case 4:
            tensor = choice.choice(graph.initializer)
            tensor.dims.append(choice.choice(NUMBERS))
        case 5:
            tensor = choice.choice(graph.initializer)
            array = np.asarray(numpy_helper.to_array(tensor)) if not any(size < 0 or size > 999 for size in tensor.dims) else np.zeros(1)
            changed = array.astype(choice.choice(["float32", "int64", "int8", "uint8", "float64", "bool"]))
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
        case 6:
            index = choice.randrange(len(graph.initializer))
            array = np.array(choice.choices(NUMBERS, k=choice.randrange(6)), np.int64)
            graph.initializer[index].CopyFrom(numpy_helper.from_array(array, graph.initializer[index].name))
        case 7:
            target.op_type = choice.choice(
                ["Conv", "Gemm", "Pad", "Tile", "Expand", "Split", "QLinearConv", "ConvTranspose", "Gather", "Squeeze"]
            )
        case _:
            model.opset_import[0].version = choice.choice([1, 7, 9, 11, 12, 13, 18, 21, 28, 2**40])


def refusal(look: Callable[[], object], path: Path) -> bool:
    """Whether a file is refused; nothing but an EngineError that names it may come of it."""
    message = ""
    try:
        look()
    except EngineError as error:
        message = str(error)
    assert not message or str(path) in message
    return bool(message)


@pytest.mark.parametrize("seed", range(12))
def test_any_damage_is_an_engine_error(seed: int, tmp_path: Path) -> None:
    sound = base()
    path = tmp_path / "model.onnx"
    choice = random.Random(seed)
    refused = 0
    for _ in range(40):
        model = onnx.ModelProto()
        model.CopyFrom(sound)
        for _ in range(choice.randrange(1, 3)):
            try:
                spoil(model, choice)
            except (TypeError, ValueError):  # damage upon damage that the library cannot write
                continue
        path.write_bytes(model.SerializeToString())
        for look in (lambda: compile_model(path, {"n": 1}), lambda: lacks(path)):
            refused += refusal(look, path)
    assert refused


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_to_the_bytes_is_an_engine_error(seed: int, tmp_path: Path) -> None:
    content = base().SerializeToString()
    path = tmp_path / "model.onnx"
    choice = random.Random(seed)
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(choice.randrange(1, 6)):
            damaged[choice.randrange(len(damaged))] = choice.randrange(256)
        path.write_bytes(damaged[: choice.randrange(len(damaged) // 2, len(damaged) + 1)])
        refusal(lambda: import_model(path, {"n": 1}), path)
