"""Which layers stay float so that a quantized model is near enough to its original."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from devices.quantize.measure import Accuracy, Yardstick
from devices.quantize.plan import Choices, Scheme

FEW = 4
"""Samples on which each layer's part in the error is measured."""

RUNS = 3
"""Runs of neighbours whose layers are measured one by one."""


def kept_float_for(
    scheme: Scheme, choices: Choices, told: Yardstick, bar_db: float,
    progress: Callable[[str, int, int], None],
) -> tuple[Choices, Accuracy]:  # fmt: skip
    """Greedy: beside those of `choices`, the layer without which the error falls most goes first, until the worst output reaches the bar;
    then each that the bar holds without is quantized after all.

    Only layers of the runs of neighbours without which it falls most are measured one by one. One layer stays quantized even where the
    bar is not reached.
    """

    def with_these(names: tuple[str, ...]) -> Choices:
        return replace(choices, kept_float=(*choices.kept_float, *names))

    def measured(names: tuple[str, ...], most: int | None = None) -> Accuracy:
        return told.measure(scheme.write(with_these(names)).model, most)

    layers = [name for name in scheme.layers if name not in choices.kept_float]
    length = math.isqrt(len(layers)) or 1
    runs = [tuple(layers[start : start + length]) for start in range(0, len(layers), length)]
    total = len(runs) + RUNS * length

    def ranked(candidates: Sequence[tuple[str, ...]], done: int) -> list[tuple[str, ...]]:
        gains = {}
        for number, names in enumerate(candidates):
            progress("measuring layers", done + number, total)
            gains[names] = measured(names, FEW).worst_db if len(names) < len(layers) else 0.0
        return sorted(candidates, key=lambda names: -gains[names])

    runs = ranked(runs, 0)
    singles = ranked([(name,) for run in runs[:RUNS] for name in run], len(runs))
    progress("measuring layers", total, total)
    order = [name for names in (*singles, *runs[RUNS:]) for name in names]
    kept: tuple[str, ...] = ()
    accuracy = measured(kept)
    for count in range(1, len(layers)):
        if accuracy.worst_db >= bar_db:
            break
        progress("keeping layers float", count, len(layers))
        kept = tuple(order[:count])
        accuracy = measured(kept)
    for name in reversed(kept[:-1]) if accuracy.worst_db >= bar_db else ():
        progress("taking layers back", kept.index(name), len(kept))
        fewer = tuple(each for each in kept if each != name)
        if (found := measured(fewer)).worst_db >= bar_db:
            kept, accuracy = fewer, found
    return with_these(kept), accuracy
