"""Which layers stay float within a share of time and size: those that take most noise from the outputs for what they cost."""

from __future__ import annotations

from collections.abc import Mapping

from devices.quantize.cost import Cost
from devices.quantize.placement import Placement


def float_within(placement: Placement, layers: list[str], noise: Mapping[str, float], cost: Cost, share: float) -> tuple[str, ...]:
    """Names of `layers` (all of a network, in order) that take at most `share` more time and size each; at least one is left.

    `noise` is what rounding each value alone leaves at the outputs. A value is not rounded where the layers that give and read it stay
    float. Greedy: whichever value's layers take most noise for each part of the share come first.
    """
    needed = {value: names for value, names in _needed(placement).items() if value in noise}
    kept: frozenset[str] = frozenset()

    def price(names: frozenset[str]) -> float:
        return sum(cost.time[name] + cost.size[name] for name in sorted(names - kept))

    def fits(names: frozenset[str]) -> bool:
        return len(names) < len(layers) and all(sum(each[name] for name in sorted(names)) <= share for each in (cost.time, cost.size))

    def gain(names: frozenset[str]) -> float:
        return sum(noise[value] for value in sorted(needed) if needed[value] <= names and not needed[value] <= kept)

    while found := [kept | names for names in dict.fromkeys(needed.values()) if not names <= kept and fits(kept | names)]:
        kept = max(found, key=lambda names: (gain(names) / max(price(names), 1e-9), sorted(names)))
    return tuple(name for name in layers if name in kept)


def _needed(placement: Placement) -> dict[str, frozenset[str]]:
    """By value the layers that give it (where it is rounded as it is given) and read it; values that others give or read are left out."""
    found: dict[str, set[str] | None] = {}
    for unit in placement.units:
        for value in (*unit.inputs, *(name for name in unit.outputs if name in placement.given)):
            names = found.setdefault(value, set())
            if unit.layer is None:
                found[value] = None
            elif names is not None:
                names.add(unit.layer.name)
    return {value: frozenset(names) for value, names in found.items() if names}
