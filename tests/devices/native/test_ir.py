from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from devices.native import operators as ops
from devices.native.ir import MAX_BYTES, Graph, GraphError, Node, Quantization, Type, verify

ROW = Type("float32", (1, 4))


def doubling(**changes: object) -> Graph:
    graph = Graph(
        ("x",), (("y", "y"),), (Node(ops.Binary("add"), ("x", "two"), "y", "adds"),),
        {"x": ROW, "two": Type("float32", ()), "y": ROW}, {"two": np.array(2, np.float32)},
    )  # fmt: skip
    return replace(graph, **changes)  # type: ignore[arg-type]


def test_a_sound_graph_passes() -> None:
    verify(doubling())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": ()}, "output 'y': expected value 'y' to be defined, got none"),
        ({"nodes": doubling().nodes * 2}, "'y': expected one definition, got two"),
        ({"inputs": ("x", "x")}, "'x': expected one definition, got two"),
        ({"nodes": (Node(ops.Binary("add"), ("x", "three"), "y"),)}, "expected 'three' to be defined before it"),
        ({"types": {**doubling().types, "y": Type("float32", (1, 5))}}, r"expected the type float32\[1x4\], got float32\[1x5\]"),
        ({"types": {"x": ROW, "y": ROW}}, "'two': expected a type, got none"),
        ({"constants": {"two": np.array([2], np.float32)}}, "constant 'two': expected"),
        ({"nodes": (Node(ops.Binary("and"), ("x", "two"), "y"),)}, "and: expected bool"),
    ],
)
def test_verify_names_what_is_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        verify(doubling(**changes))


def test_graphs_do_not_change() -> None:
    graph = doubling()
    with pytest.raises(ValueError, match="read-only"):
        graph.constants["two"][...] = 3
    with pytest.raises(TypeError):
        graph.types["z"] = ROW  # type: ignore[index]


def test_the_digest_tells_graphs_apart_by_what_they_compute() -> None:
    graph = doubling()
    renamed = Graph(
        ("x",), (("y", "out"),), (Node(ops.Binary("add"), ("x", "c"), "out"),),
        {"x": ROW, "c": Type("float32", ()), "out": ROW}, {"c": np.array(2, np.float32)},
    )  # fmt: skip
    assert graph.digest == renamed.digest
    others = [
        doubling(constants={"two": np.array(3, np.float32)}),
        doubling(nodes=(Node(ops.Binary("mul"), ("x", "two"), "y"),)),
        doubling(nodes=(Node(ops.Binary("add"), ("two", "x"), "y"),)),
        doubling(outputs=(("z", "y"),)),
        doubling(batch=("x",)),
    ]
    assert len({graph.digest, *(other.digest for other in others)}) == 6


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("float64", (1,), "expected elements of bool, uint8"),
        ("float32", (1,) * 9, "at most 8 dimensions"),
        ("float32", (-1,), "at least 0"),
        ("float32", (MAX_BYTES // 4 + 1,), f"at most {MAX_BYTES} bytes"),
        ("uint8", (2**62, 2**62), f"at most {MAX_BYTES} bytes"),
    ],
)
def test_types_are_bounded(dtype: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Type(dtype, shape)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_make_sense(scale: float) -> None:
    with pytest.raises(GraphError, match="finite and above 0"):
        Quantization((scale,), (0,))


def test_a_scale_for_each_channel() -> None:
    with pytest.raises(GraphError, match="expected a scale for each index of axis 0"):
        Type("int8", (4, 2), quantization=Quantization((1.0,) * 3, (0,) * 3, 0))
    with pytest.raises(GraphError, match="as many zero points as scales"):
        Quantization((1.0, 2.0), (0,), 0)
    with pytest.raises(GraphError, match="one scale without an axis"):
        Quantization((1.0, 2.0), (0, 0))


def test_layout_says_where_channels_are() -> None:
    first, last = Type("float32", (1, 3, 8, 6)), Type("float32", (1, 8, 6, 3), "nhwc")
    assert (first.channels, first.spatial, first.spatial_axes) == (last.channels, last.spatial, (2, 3))
    assert (last.channel_axis, last.spatial_axes) == (3, (1, 2))
    assert first.image(5, (4, 3)).shape == (1, 5, 4, 3)
    assert last.image(5, (4, 3)) == Type("float32", (1, 4, 3, 5), "nhwc")


def test_a_graph_reads_well() -> None:
    assert "y = Binary(kind='add')(x, two): float32[1x4]" in str(doubling())
