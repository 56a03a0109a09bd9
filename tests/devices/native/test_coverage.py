from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnx import helper

from devices.native.coverage import Missing, missing

node = helper.make_node


def test_a_model_that_is_covered(scale_model: Path) -> None:
    assert missing(scale_model, {}) == ()


def test_operators_by_name_domain_set_and_node(save_any: Callable[..., Path]) -> None:
    nodes = [
        node("Relu", ["x"], ["a"]), node("NonZero", ["a"], ["b"], name="where"),
        node("Gelly", ["a"], ["y"], domain="com.microsoft"), node("NonZero", ["a"], ["c"], name="again"),
    ]  # fmt: skip
    found = missing(save_any(nodes, [("x", "float32", (1, 3))], [("y", "float32")]), {})
    assert found == (Missing("NonZero", "ai.onnx", 17, "where"), Missing("Gelly", "com.microsoft", 1, "y"))
    assert str(found[1]) == "Gelly (com.microsoft 1, node 'y')"


def test_a_variant_of_an_operator(save_model: Callable[..., Path]) -> None:
    nodes = [node("Relu", ["x"], ["a"]), node("Cast", ["a"], ["y"], to=10, name="halve")]
    (found,) = missing(save_model(nodes, [("x", "float32", (1, 3))], [("y", "float16", (1, 3))]), {})
    assert (found.domain, found.version, found.node) == ("ai.onnx", 17, "halve")
    assert found.operator.startswith("Cast(")


def test_an_operator_set_that_is_too_old(save_model: Callable[..., Path]) -> None:
    nodes = [node("Clip", ["x"], ["y"], min=0.0, name="cut")]
    (found,) = missing(save_model(nodes, [("x", "float32", (1, 3))], [("y", "float32", (1, 3))], opset=5), {})
    assert found == Missing("Clip", "ai.onnx", 5, "cut")
