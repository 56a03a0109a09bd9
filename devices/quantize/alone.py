"""What rounding one value alone leaves at a float model's outputs: errors of different values nearly add up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from devices.quantize.execute import Feed, Runner
from devices.quantize.measure import compare
from devices.quantize.ranges import Step


class Alone:
    """A float model and what it gives for some samples."""

    def __init__(self, model: Any, feeds: Sequence[Feed], *, threads: int = 1) -> None:
        self._model, self._feeds, self._threads = model, feeds, threads
        runner = Runner(model, threads=threads)
        self._told = [runner.run(feed) for feed in feeds]

    def noise(self, values: Collection[str], readers: Collection[str] | None = None) -> Callable[[Step], float]:
        """Error over signal at the outputs by the step in which these values are rounded, for all that read them or nodes by name."""
        model, scale, zero = _rounding(self._model, values, readers)
        runner = Runner(model, threads=self._threads)

        def measured(step: Step) -> float:
            given: Mapping[str, np.ndarray] = {scale: np.array(step.scale, np.float32), zero: np.array(step.zero, np.uint8)}
            return compare(zip(self._told, (runner.run({**feed, **given}) for feed in self._feeds), strict=True)).noise

        return measured


def _rounding(model: Any, values: Collection[str], readers: Collection[str] | None) -> tuple[Any, str, str]:
    """The model with these values rounded in steps that are two further inputs, whose names come with it."""
    import onnx
    from onnx import TensorProto, helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    taken = {name for node in made.graph.node for name in (*node.input, *node.output)}
    scale, zero = _unused("scale", taken), _unused("zero", taken)
    nodes: list[Any] = []
    rounded: dict[str, str] = {}

    def round_(value: str) -> None:
        stored, rounded[value] = _unused(f"{value}/stored", taken), _unused(f"{value}/rounded", taken)
        nodes.append(helper.make_node("QuantizeLinear", [value, scale, zero], [stored]))
        nodes.append(helper.make_node("DequantizeLinear", [stored, scale, zero], [rounded[value]]))

    for value in made.graph.input:
        if value.name in values:
            round_(value.name)
    for old in made.graph.node:
        node = type(old)()
        node.CopyFrom(old)
        for at, name in enumerate(node.input):
            if readers is None or node.name in readers:
                node.input[at] = rounded.get(name, name)
        nodes.append(node)
        for at, name in enumerate(node.output):
            if name in values:
                if readers is None and name in {output.name for output in made.graph.output}:
                    node.output[at] = real = _unused(f"{name}/real", taken)
                    round_(real)
                    nodes[-1].output[0] = rounded[name] = name
                else:
                    round_(name)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.input.append(helper.make_tensor_value_info(scale, TensorProto.FLOAT, []))
    made.graph.input.append(helper.make_tensor_value_info(zero, TensorProto.UINT8, []))
    return made, scale, zero


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    taken.add(name)
    return name
