"""The range of each value by what its rounding leaves at the outputs, not by what it does to the value.

Large elements may say little: where a narrower range leaves less at the outputs, they are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from devices.quantize.alone import Alone
from devices.quantize.network import Network
from devices.quantize.placement import Placement
from devices.quantize.ranges import Step, step_of

FACTOR = 0.85
"""Ranges that are tried are so many times as wide as the last one, or the other way round."""

MOST = 8
"""Ranges tried on either side."""

WORTH = 0.005
"""Part of the noise of all values together from which on a value's range is looked for."""


def own_steps(
    network: Network, placement: Placement, steps: Mapping[str, Step], fixed: Callable[[str], bool], alone: Alone,
    tick: Callable[[int, int], None],
) -> tuple[dict[str, Step], dict[str, float]]:  # fmt: skip
    """Steps for the groups of `placement` (those of `fixed` groups as they are), and what each alone leaves at the outputs.

    From the given range on, wider or narrower ones are tried as long as that lowers the noise.
    """
    groups = sorted(placement.sources)
    measures = {group: _measure(network, placement, group, alone) for group in groups}
    noise: dict[str, float] = {}
    for number, group in enumerate(groups):
        tick(number, 2 * len(groups))
        noise[group] = measures[group]()(steps[group])
    found, total = dict(steps), sum(noise.values())
    for number, group in enumerate(groups):
        tick(len(groups) + number, 2 * len(groups))
        if noise[group] >= WORTH * total and not fixed(group):
            found[group], noise[group] = _climbed(steps[group], noise[group], measures[group]())
    tick(2 * len(groups), 2 * len(groups))
    return found, noise


def _measure(network: Network, placement: Placement, group: str, alone: Alone) -> Callable[[], Callable[[Step], float]]:
    """Opens the model in which a group's values are rounded: where they are given, or for the units that take them."""
    values = [name for name, of in placement.groups.items() if of == group]
    readers = None
    if not placement.given.intersection(values):
        readers = {network.nodes[index].name for unit in placement.units if set(values).intersection(unit.inputs) for index in unit.nodes}
    return lambda: alone.noise(values, readers)


def _climbed(step: Step, noise: float, measured: Callable[[Step], float]) -> tuple[Step, float]:
    best = step, noise
    for factor in (FACTOR, 1 / FACTOR):
        for _ in range(MOST):
            tried = step_of(best[0].low * factor, best[0].high * factor)
            if (found := measured(tried)) >= best[1]:
                break
            best = tried, found
        if best[0] != step:
            break
    return best
