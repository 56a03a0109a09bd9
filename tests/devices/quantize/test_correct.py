from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import helper

from devices.quantize import Samples, Settings
from devices.quantize.correct import last_layers
from devices.quantize.execute import Runner
from devices.quantize.network import read_network
from devices.quantize.plan import Choices, Scheme
from devices.quantize.units import find_units

SHAPE = (1, 3, 6, 6)


def test_biases_of_the_last_layers_take_the_mean_error_of_the_outputs_away(
    network: Callable[..., Path], samples: Callable[..., Samples]
) -> None:
    given = list(samples(20))
    scheme = Scheme(read_network(network()), Settings(), {})
    scheme.observe(lambda: iter(given), lambda: None)
    plain = Choices("minmax")
    scheme.measure_shifts(plain, given)
    real = Runner(scheme.float_model(), values=["logits"])
    errors = []
    for choices in (plain, replace(plain, correct_outputs=True)):
        runner = Runner(scheme.write(choices).model, values=["logits"])
        pairs = [[dict(each.fetch(["logits"], feed))["logits"] for each in (runner, real)] for feed in given]
        errors.append(np.abs(np.mean([got - told for got, told in pairs], axis=0)).max())
    assert errors[1] < 0.2 * errors[0]


def test_the_last_layers_are_those_with_no_layer_behind_them(save_model: Callable[..., Path]) -> None:
    node = helper.make_node
    weights = {f"w{at}": np.full((3, 3, 1, 1), at, np.float32) for at in range(4)}  # ONNX Runtime takes equal layers for one
    nodes = [
        node("Conv", ["x", "w0"], ["a"], "first"), node("Sigmoid", ["a"], ["s"]), node("Conv", ["s", "w1"], ["b"], "boxes"),
        node("Conv", ["s", "w2"], ["c"], "clipped"), node("Relu", ["c"], ["r"]), node("Conv", ["s", "w3"], ["d"], "scores"),
        node("Exp", ["d"], ["e"]), node("Concat", ["b", "r", "e"], ["y"], axis=1),
    ]  # fmt: skip
    path = save_model(nodes, [("x", "float32", SHAPE)], [("y", "float32", (1, 9, 6, 6))], weights, opset=13)
    network = read_network(path)
    last = last_layers(network, find_units(network))
    assert [unit.layer.name for unit in last if unit.layer is not None] == ["boxes", "scores"]
