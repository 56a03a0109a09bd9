from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from devices.quantize.execute import Runner
from devices.quantize.patches import patches, spread
from devices.quantize.units import Layer

WHOLE = 10**6


def run(node: Any, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of one layer."""
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [helper.make_tensor("w", TensorProto.FLOAT, w.shape, w.ravel())],
    )  # fmt: skip
    return Runner(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)).run({"x": x})["y"]


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((1, 6, 9, 8), (4, 6, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((1, 6, 9, 8), (4, 6, 3, 2), {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
        ((2, 6, 9, 8), (6, 1, 3, 3), {"group": 6, "dilations": [2, 1]}),
        ((1, 6, 9, 8), (4, 3, 1, 1), {"group": 2, "strides": [2, 2]}),
        ((1, 6, 10, 9), (4, 6, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 6, 10, 9), (4, 6, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
        ((1, 6, 9), (4, 6, 3), {"pads": [1, 0]}),
    ],
)  # fmt: skip
def test_rows_times_weights_are_what_a_convolution_gives(
    shape: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    random = np.random.default_rng(0)
    x, w = (random.normal(0, 1, each).astype(np.float32) for each in (shape, weight))
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    layer = Layer("conv", 0, "x", "w", "", 0, attributes.get("group", 1))
    y = run(node, x, w)
    for most, first in ((WHOLE, 0), (7, 0), (7, 3)):
        rows = patches(node, layer, weight[2:], x, most, first)
        made = rows @ np.swapaxes(w.reshape(layer.group, weight[0] // layer.group, -1), 1, 2)
        given = np.moveaxis(y, 1, -1).reshape(-1, weight[0])
        given = given[spread(len(given), most, first)].reshape(rows.shape[1], layer.group, -1).swapaxes(0, 1)
        np.testing.assert_allclose(made, given, rtol=1e-4, atol=1e-5)


def test_rows_of_a_product() -> None:
    random = np.random.default_rng(0)
    x, w = random.normal(0, 1, (2, 5, 3)).astype(np.float32), random.normal(0, 1, (3, 4)).astype(np.float32)
    node, layer = helper.make_node("MatMul", ["x", "w"], ["y"]), Layer("product", 0, "x", "w", "", 1)
    y = run(node, x, w)
    np.testing.assert_allclose((patches(node, layer, (), x, 4, 1) @ w)[0], y.reshape(-1, 4)[spread(10, 4, 1)], rtol=1e-5)


@pytest.mark.parametrize(("count", "most"), [(1, 5), (10, 5), (11, 5), (5, 5), (100, 1)])
def test_places_are_spread_over_all(count: int, most: int) -> None:
    seen: set[int] = set()
    for first in range(count):
        places = spread(count, most, first)
        assert 0 < len(places) <= most
        seen.update(places.tolist())
    assert seen == set(range(count))
