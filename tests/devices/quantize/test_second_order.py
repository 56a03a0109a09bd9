from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.quantize import Samples, Settings
from devices.quantize.measure import Yardstick
from devices.quantize.network import read_network
from devices.quantize.plan import Choices, Scheme
from devices.quantize.rounding import damped
from devices.quantize.second_order import round_weights
from devices.quantize.units import Layer
from devices.quantize.weights import StoredWeights, along, has_pairs, is_pair_safe, store_weights

LAYERS = {
    "conv": (Layer("conv", 0, "x", "w", "b", 0), (5, 4, 3, 3)),
    "odd": (Layer("odd", 0, "x", "w", "b", 0), (5, 3, 2, 2)),
    "depthwise": (Layer("depthwise", 0, "x", "w", "b", 0, group=6), (6, 1, 3, 3)),
    "grouped": (Layer("grouped", 0, "x", "w", "", 0, group=2), (6, 4, 1, 1)),
    "dense": (Layer("dense", 0, "x", "w", "b", 1), (12, 7)),
}


def errors(layer: Layer, weight: np.ndarray, stored: StoredWeights, gram: np.ndarray) -> np.ndarray:
    """The squared error of each output."""
    real = stored.weight * along(stored.scales.astype(np.float64), weight.ndim, layer.axis)
    difference = np.moveaxis(real - weight, layer.axis, 0).reshape(len(gram), -1, gram.shape[1])
    return np.asarray(np.einsum("grk,gkl,grl->gr", difference, damped(gram), difference))


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(LAYERS)),
    seed=st.integers(0, 2**32 - 1),
    pair_safe=st.booleans(),
    samples=st.integers(1, 60),
    heavy=st.booleans(),
)
def test_no_output_is_worse_than_with_weights_rounded_to_the_nearest(
    kind: str, seed: int, pair_safe: bool, samples: int, heavy: bool
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    layer, shape = LAYERS[kind]
    weight = (random.standard_t(2, shape) if heavy else random.uniform(-1, 1, shape)).astype(np.float32)
    columns = weight.size // shape[layer.axis]
    x = random.normal(0, 1, (layer.group, samples, columns)) @ random.normal(0, 1, (layer.group, columns, columns))
    gram = np.swapaxes(x, 1, 2) @ x
    found = round_weights(layer, weight, gram, pair_safe=pair_safe)
    plain = store_weights(layer, weight, None, 1.0, pair_safe=pair_safe)
    assert (errors(layer, weight, found, gram) <= errors(layer, weight, plain, gram) * (1 + 1e-9)).all()
    assert found.weight.shape == plain.weight.shape
    assert np.abs(found.weight.astype(int)).max() <= 127
    assert not pair_safe or not has_pairs(layer, weight) or is_pair_safe(layer, found.weight)


@pytest.mark.parametrize("value", [0.0, 1e-38, 1e30])
def test_extreme_weights_and_inputs_of_nothing_are_rounded(value: float) -> None:
    layer, shape = LAYERS["conv"]
    for size in (0.0, 1e-12, 1e12):
        found = round_weights(layer, np.full(shape, value, np.float32), np.full((1, 36, 36), size), pair_safe=True)
        assert np.isfinite(found.scales).all()
        assert (found.scales > 0).all()


def test_all_layers_of_a_model_are_rounded(network: Callable[..., Path], samples: Callable[..., Samples]) -> None:
    given, path = samples(20), network()
    scheme = Scheme(read_network(path), Settings(), {})
    scheme.observe(lambda: iter(given), lambda: None)
    told: list[tuple[str, int, int]] = []
    scheme.round(list(given)[:10], lambda *each: told.append(each))
    assert told[-1][1] == told[-1][2]
    yardstick = Yardstick(onnx.load(path), list(given)[10:])
    before, after = (scheme.write(Choices("minmax", second_order=each)) for each in (False, True))
    assert all(after.weights[name] != before.weights[name] for name in scheme.layers)
    assert yardstick.measure(after.model).mean_db > yardstick.measure(before.model).mean_db - 1
