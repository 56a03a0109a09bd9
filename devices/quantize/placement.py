"""Where values are stored as uint8, and which of them share one scale."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from devices.quantize.network import Network
from devices.quantize.units import Unit

Real = Literal["nothing", "results", "sums"]
"""What of quantized layers is not rounded: `place`."""


@dataclass(frozen=True)
class Placement:
    """`units` are the quantized ones. `given` are values that they give, `taken` values that others give (or inputs) and they read.

    Values with one entry in `groups` have one scale. `rescaled` are (join, value): a value that is stored with a scale of its own
    and takes on the join's before it. `sources`: for each group, the values whose range it covers.
    """

    units: tuple[Unit, ...]
    given: frozenset[str]
    taken: frozenset[str]
    groups: dict[str, str]
    rescaled: frozenset[tuple[str, str]]
    sources: dict[str, tuple[str, ...]]


def place(network: Network, units: Iterable[Unit], kept_float: Collection[str] = (), real: Real = "nothing") -> Placement:
    """Quantizes every layer but those of `kept_float` (their names), and what lies on a way between stored values and a quantized layer.

    What follows the last layer (decoding, softmax) and islands between operators that have no quantized form stay float, so no value is
    rounded that no quantized operator reads or gives. `real`: nor are the `results` of `plain` layers that float operators or the caller
    read; with `sums`, those are such operators that `real_sums` names. Quantized layers read what they are rounded to.
    """
    units = list(units)
    apart = real_sums(units) if real == "sums" else []
    chosen = _between(network, [unit for unit in units if (unit.layer is None or unit.layer.name not in kept_float) and unit not in apart])
    given = {name for unit in chosen for name in unit.outputs}
    if real != "nothing":
        inside = {index for unit in chosen for index in unit.nodes}
        given -= {
            name for unit in chosen if plain(unit) for name in unit.outputs
            if name in network.outputs or not inside.issuperset(network.users.get(name, ()))
        }  # fmt: skip
    taken = {name for unit in chosen for name in unit.inputs} - given
    readers: dict[str, list[Unit]] = {}
    for unit in chosen:
        for name in unit.inputs:
            readers.setdefault(name, []).append(unit)
    groups = _Groups(given | taken)
    rescaled: set[tuple[str, str]] = set()
    for unit in chosen:
        if unit.kind == "move":
            for name in unit.outputs:
                groups.unite(unit.inputs[0], name)
        elif unit.kind == "join":
            for name in unit.inputs:
                alone = name in given and readers[name] == [unit] and name not in network.outputs
                if alone and len(network.users[name]) == 1:
                    groups.unite(name, unit.outputs[0])
    sources: dict[str, list[str]] = {}
    made_as_read = {name for unit in chosen if unit.kind in ("move", "join") for name in unit.outputs}
    for name in sorted(given | taken, key=lambda name: (network.makers.get(name, -1), name)):
        if name not in made_as_read:
            sources.setdefault(groups.of(name), []).append(name)
    for unit in chosen:
        if unit.kind == "join":
            for name in unit.inputs:
                if groups.of(name) != groups.of(unit.outputs[0]):
                    rescaled.add((unit.outputs[0], name))
    named = {name: groups.of(name) for name in given | taken}
    return Placement(
        tuple(chosen), frozenset(given), frozenset(taken), named, frozenset(rescaled),
        {group: tuple(_reach(group, sources, rescaled, named)) for group in set(named.values())},
    )  # fmt: skip


def real_sums(units: Iterable[Unit]) -> list[Unit]:
    """Sums of what `plain` layers give: residual connections around linear ends of blocks."""
    units = list(units)
    made = {name for unit in units if plain(unit) for name in unit.outputs}
    return [unit for unit in units if unit.kind == "sum" and made.intersection(unit.inputs)]


def plain(unit: Unit) -> bool:
    """Whether a unit is a layer whose sums over whole numbers engines give in float32: without activation, no groups."""
    return unit.layer is not None and unit.layer.group == 1 and unit.activation is None


def _between(network: Network, units: list[Unit]) -> list[Unit]:
    """Layers, and the other units with a stored value before them and a layer behind them."""
    stored = set(network.inputs)
    after: list[Unit] = []
    for unit in units:
        if unit.layer is not None or stored.intersection(unit.inputs):
            stored.update(unit.outputs)
            after.append(unit)
    wanted: set[str] = set()
    between = []
    for unit in reversed(after):
        if unit.layer is not None or wanted.intersection(unit.outputs):
            wanted.update(unit.inputs)
            between.append(unit)
    return between[::-1]


def _reach(group: str, sources: dict[str, list[str]], rescaled: set[tuple[str, str]], groups: dict[str, str]) -> list[str]:
    """The values that a group's range covers: those given to it, and those of the groups that joins rescale to it."""
    found: dict[str, None] = {}
    waiting, seen = [group], {group}
    while waiting:
        current = waiting.pop()
        found |= dict.fromkeys(sources.get(current, ()))
        for join, value in sorted(rescaled):
            if groups[join] == current and groups[value] not in seen:
                seen.add(groups[value])
                waiting.append(groups[value])
    return list(found)


class _Groups:
    """Disjoint sets of values."""

    def __init__(self, values: Collection[str]) -> None:
        self._parents = {value: value for value in values}

    def of(self, value: str) -> str:
        while self._parents[value] != value:
            self._parents[value] = self._parents[self._parents[value]]
            value = self._parents[value]
        return value

    def unite(self, one: str, other: str) -> None:
        self._parents[self.of(other)] = self.of(one)
