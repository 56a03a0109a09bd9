"""Which layers stay float so that a quantized model is near enough to its original."""

from __future__ import annotations

from collections.abc import Callable

from devices.quantize.measure import Accuracy, Yardstick
from devices.quantize.plan import Choices, Scheme

FEW = 4
"""Samples on which each layer's part in the error is measured."""


def kept_float_for(
    scheme: Scheme, choices: Choices, told: Yardstick, bar_db: float, progress: Callable[[str, int, int], None]
) -> tuple[tuple[str, ...], Accuracy]:
    """Greedy: the layer without which the error falls most goes first, until the worst output reaches the bar.

    One layer stays quantized even where the bar is not reached.
    """

    def measured(kept: tuple[str, ...], most: int | None = None) -> Accuracy:
        return told.measure(scheme.write(Choices(choices.method, choices.correct_bias, kept)).model, most)

    layers = scheme.layers
    gains: dict[str, float] = {}
    for done, name in enumerate(layers if len(layers) > 1 else ()):
        progress("measuring layers", done, len(layers))
        gains[name] = measured((name,), FEW).worst_db
    progress("measuring layers", len(layers), len(layers))
    order = sorted(gains, key=lambda name: (-gains[name], layers.index(name)))
    kept: tuple[str, ...] = ()
    accuracy = measured(kept)
    for count in range(1, len(layers)):
        if accuracy.worst_db >= bar_db:
            break
        progress("keeping layers float", count, len(layers))
        kept = tuple(order[:count])
        accuracy = measured(kept)
    return kept, accuracy
