"""One network's units, what they were seen to give, and the quantized models that choices make of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from devices.engine import EngineError
from devices.quantize.alone import Alone
from devices.quantize.correct import last_layers, shift_of, shifts_of
from devices.quantize.cost import Cost, cost_of
from devices.quantize.equalize import equalized
from devices.quantize.execute import Feed, Runner
from devices.quantize.function import functions_of
from devices.quantize.network import Network
from devices.quantize.observe import Seen, merged, observe
from devices.quantize.own import own_steps
from devices.quantize.placement import Placement, Real, place
from devices.quantize.ranges import Histogram, Method, Step, choose, step_of
from devices.quantize.second_order import grams, round_weights
from devices.quantize.settings import Settings
from devices.quantize.smooth import smoothed
from devices.quantize.units import Layer, find_units
from devices.quantize.weights import BIAS_MOST, Fitted, StoredWeights, real_weight, store_weights
from devices.quantize.write import Written, write


@dataclass(frozen=True, slots=True)
class Choices:
    """How one quantized model is made."""

    method: Method
    correct_bias: bool = False
    kept_float: tuple[str, ...] = ()
    second_order: bool = False
    correct_outputs: bool = False
    real: Real = "nothing"
    own_ranges: bool = False
    """Ranges are those of `Scheme.measure_values`; `method` is for what that did not measure."""


class Scheme:
    """Everything that quantized models of one network share."""

    def __init__(
        self, network: Network, settings: Settings, bounds: Mapping[str, tuple[float, float]], floors: Mapping[str, float] | None = None
    ) -> None:  # fmt: skip
        self.floors = floors or {}
        self.network, self.settings, self.bounds = network, settings, bounds
        self.units = find_units(network)
        self.layers = [unit.layer.name for unit in self.units if unit.layer is not None]
        self._copied = {name: unit.inputs for unit in self.units if unit.kind in ("move", "join") for name in unit.outputs}
        self._seen: Seen | None = None
        self._steps: dict[tuple[tuple[str, ...], Method], Step] = {}
        self._weights: dict[str, StoredWeights] = {}
        self._rounded: dict[str, StoredWeights] = {}
        self._shifts: dict[str, np.ndarray] = {}
        self._own: dict[tuple[str, ...], Step] = {}
        self.noise: dict[str, float] = {}
        self._functions = functions_of(network, self.units)

    def observe(self, feeds: Callable[[], Iterable[Feed]], tick: Callable[[], None]) -> None:
        """Watches the float network."""
        placement = place(self.network, self.units)
        values = sorted({name for unit in placement.units for name in (*unit.inputs, *unit.outputs)} - set(self._copied))
        averaged = {unit.layer.x for unit in self.units if unit.layer is not None}
        averaged |= {
            name for unit in placement.units if unit.kind in ("layer", "function", "sum") for name in (*unit.inputs, *unit.outputs)
        }
        values += sorted(averaged & set(self._copied))
        self._seen = observe(self.network, self.float_model(), values, averaged, feeds, threads=self.settings.threads, tick=tick)

    def float_model(self) -> Any:
        """The network as a model."""
        import onnx
        from onnx import numpy_helper

        model = onnx.ModelProto()
        model.CopyFrom(self.network.model)
        del model.graph.initializer[:]
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self.network.constants.items())
        return model

    def histogram(self, value: str) -> Histogram:
        """What a value was seen to be; a value that is moved from others, what those were."""
        assert self._seen is not None
        if value in self._seen.histograms:
            return self._seen.histograms[value]
        return merged([self.histogram(name) for name in self._copied[value]])

    def place(self, kept_float: Collection[str] = (), real: Real = "nothing") -> Placement:
        """Where values are stored. Raises EngineError where no layer is left."""
        placement = place(self.network, self.units, kept_float, real)
        if not any(unit.layer for unit in placement.units):
            raise EngineError(f"{self.network.path}: expected a layer to quantize, got all kept float; keep fewer, or lower the bar")
        return placement

    def steps(self, placement: Placement, choices: Choices) -> dict[str, Step]:
        """The quantization of each group of values. What only float operators read keeps its whole range: the largest score counts."""
        read = {placement.groups[name] for unit in placement.units for name in unit.inputs}
        own = self._own if choices.own_ranges else {}
        return {
            group: own[sources] if sources in own else self._step(sources, choices.method if group in read else "minmax")
            for group, sources in placement.sources.items()
        }

    def cost(self) -> Cost:
        """What of the network costs how much in float32."""
        assert self._seen is not None
        return cost_of(self.network, self.units, self._seen.elements)

    def measure_values(
        self, choices: Choices, feeds: Sequence[Feed], tick: Callable[[int, int], None], *, find: bool = True
    ) -> None:  # fmt: skip
        """Measures what rounding each value alone leaves at the outputs (`noise`); `find`: with the ranges that leave least."""
        placement = self.place(real=choices.real)
        read = {placement.groups[name] for unit in placement.units for name in unit.inputs}
        alone = Alone(self.float_model(), feeds, threads=self.settings.threads)

        def fixed(group: str) -> bool:
            return not find or group not in read or bool(self.bounds.keys() & set(placement.sources[group]))

        steps, noise = own_steps(self.network, placement, self.steps(placement, choices), fixed, alone, tick)
        self._own = {placement.sources[group]: step for group, step in steps.items()}
        self.noise = {name: noise[group] for name, group in placement.groups.items()}

    def write(self, choices: Choices) -> Written:
        """The quantized model."""
        placement = self.place(choices.kept_float, choices.real)
        steps = self.steps(placement, choices)
        return write(self.network, placement, steps, lambda layer, x_scale: self._fitted(layer, x_scale, choices))

    def round(self, feeds: Sequence[Feed], progress: Callable[[str, int, int], None]) -> None:
        """Rounds all weights by second order over what layers read in the float network."""
        layers = [unit.layer for unit in self.units if unit.layer is not None]
        values = {layer.x for layer in layers} - set(self.network.inputs)
        runner = Runner(self.float_model(), values=sorted(values), threads=self.settings.threads)
        sums: dict[str, np.ndarray] = {}
        total = len(feeds) + len(layers)
        for number in range(len(feeds)):
            progress("rounding weights", number, total)
            for name, gram in grams(self.network, layers, runner, feeds, number):
                sums[name] = sums[name] + gram if name in sums else gram.astype(np.float64)
        for number, layer in enumerate(layers):
            progress("rounding weights", len(feeds) + number, total)
            weight = real_weight(layer, self.network.constants[layer.weight])
            self._rounded[layer.name] = round_weights(layer, weight, sums.pop(layer.name), pair_safe=self.settings.pair_safe)
        progress("rounding weights", total, total)

    def measure_shifts(self, choices: Choices, feeds: Iterable[Feed]) -> None:
        """Measures what `correct_outputs` takes from the biases of the last layers."""
        last = last_layers(self.network, self.units)
        real = Runner(self.float_model(), values=[unit.outputs[0] for unit in last], threads=self.settings.threads)
        model = self.write(replace(choices, correct_outputs=False)).model
        self._shifts = shifts_of(last, real, model, feeds, threads=self.settings.threads)

    def equalized(self) -> Scheme | None:
        """The same with equalized layers; None where there are none to equalize."""
        network = equalized(self.network, self.units)
        return None if network is None else Scheme(network, self.settings, self.bounds)

    def smoothed(self) -> Scheme | None:
        """The same with the channels around functions scaled; None where there are none."""
        assert self._seen is not None
        placement = self.place()
        placed = {unit.inputs[0] for unit in placement.units if unit.kind == "function"}
        steps = {name: self._step((name,), "mse") for name in self._functions if name in placed and self._alone(placement, name)}
        found = smoothed(self.network, self.units, self._seen, steps)
        return None if found is None else Scheme(found.network, self.settings, self.bounds, found.floors)

    def _alone(self, placement: Placement, value: str) -> bool:
        return placement.sources[placement.groups[value]] == (value,)

    def _fitted(self, layer: Layer, x_scale: float, choices: Choices) -> Fitted:
        """A layer's weights and bias."""
        assert self._seen is not None
        stored = self._stored(layer, x_scale, self._rounded if choices.second_order else self._weights)
        bias = self.network.constant(layer.bias)
        bias = None if bias is None else bias.ravel()
        if choices.correct_bias and layer.x in self._seen.means and self.network.nodes[layer.node].op_type != "MatMul":
            shift = shift_of(layer, real_weight(layer, self.network.constants[layer.weight]), stored, self._seen.means[layer.x])
            bias = (np.zeros(len(stored.scales)) if bias is None else bias) - shift
        if choices.correct_outputs and layer.name in self._shifts:
            bias = (np.zeros(len(stored.scales)) if bias is None else bias) - self._shifts[layer.name]
        return Fitted(stored, bias)

    def _stored(self, layer: Layer, x_scale: float, made: dict[str, StoredWeights]) -> StoredWeights:
        """A layer's weights. They depend on the scale of its input only where its bias would not fit otherwise."""
        real, bias = real_weight(layer, self.network.constants[layer.weight]), self.network.constant(layer.bias)
        if layer.name not in made:
            made[layer.name] = store_weights(layer, real, None, x_scale, pair_safe=self.settings.pair_safe)
        stored = made[layer.name]
        if bias is not None and (np.abs(bias.ravel()) > stored.scales.astype(np.float64) * x_scale * BIAS_MOST).any():
            return store_weights(layer, real, bias.ravel(), x_scale, pair_safe=self.settings.pair_safe)
        return stored

    def _step(self, sources: tuple[str, ...], method: Method) -> Step:
        if len(sources) == 1 and sources[0] in self.bounds:
            return step_of(*self.bounds[sources[0]])
        key = (sources, method)
        if key not in self._steps:
            function = self._functions.get(sources[0]) if len(sources) == 1 else None
            whole = merged([self.histogram(name) for name in sources])
            self._steps[key] = choose(whole.above(self.floors.get(sources[0], whole.low)) if len(sources) == 1 else whole, method, function)
        return self._steps[key]
