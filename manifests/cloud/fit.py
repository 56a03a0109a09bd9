"""Whether what a change brings fits into a device's memory beside what leaves, from the figures in bundles and what the device reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manifests.cloud.library import Library, pair_key
from manifests.sync.desired import DesiredBusiness
from manifests.sync.estimate import gap_s


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes that a business with its models takes: its own, and those that its processes share. `known`: its bundle says so."""

    ram: int
    shared: int
    known: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What a change brings and takes away, in bytes of memory; `gap_s`: seconds without results where the old must end first."""

    coming: int
    leaving: int
    gap_s: float
    without_figures: tuple[str, ...]

    def beside(self, free: int) -> bool:
        """Whether old and new fit at once."""
        return self.coming <= free

    def alone(self, free: int) -> bool:
        """Whether the new fits after the old has ended."""
        return self.coming <= free + self.leaving


def change(running: Sequence[DesiredBusiness], wanted: Sequence[DesiredBusiness], library: Library) -> Change:
    """From what a device runs to what it should run. As on the device, what comes counts in full, and of what leaves what it has alone."""
    before, after = _by_name(running), _by_name(wanted)
    coming = [each for name, each in after.items() if _content(each) != _content(before.get(name))]
    leaving = [each for name, each in before.items() if _content(each) != _content(after.get(name))]
    costs = {each.business.name: cost(each, library) for each in coming}
    models = {model for each in coming for model in each.models.values()}
    files = sum(sum(library.sizes(model).values()) for model in models)
    return Change(
        sum(each.ram + each.shared for each in costs.values()),
        sum(cost(each, library).ram for each in leaving),
        gap_s(files) if coming and leaving else 0.0,
        tuple(_described(each) for each in coming if not costs[each.business.name].known),
    )


def cost(business: DesiredBusiness, library: Library) -> Cost:
    """As its bundle says; otherwise at least what its items say."""
    known = library.costs.get(pair_key(business.business.digest, {alias: model.digest for alias, model in business.models.items()}))
    if known is not None:
        return Cost(*known)
    return Cost(sum(library.ram.get(item.digest, 0) for item in {business.business, *business.models.values()}), 0, known=False)


def _by_name(businesses: Sequence[DesiredBusiness]) -> Mapping[str, DesiredBusiness]:
    return {each.business.name: each for each in businesses if each.enabled}


def _content(business: DesiredBusiness | None) -> Any:
    """What of it makes workers start anew."""
    return business and (business.business, business.models, business.set)


def _described(business: DesiredBusiness) -> str:
    models = ", ".join(sorted({model.selector for model in business.models.values()}))
    return business.business.selector + (f" with {models}" if models else "")
