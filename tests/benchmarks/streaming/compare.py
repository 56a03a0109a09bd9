"""Several sides, measured in turn so that all see the same machine; figures and ratios in a table, each beside its bar."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPEATS = 5
STEAL = 7
"""Place of the time that the hypervisor took, in the first line of /proc/stat."""

Measured = Mapping[str, Sequence[Any]]
"""side: what each repeat gave."""


def interleaved(sides: Mapping[str, Callable[[], Any]], repeats: int = REPEATS) -> dict[str, list[Any]]:
    """Every side once, then every side once more, and so on."""
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, measure in sides.items():
            found[name].append(measure())
    return found


def pick(found: Iterable[Any], figure: str) -> list[float]:
    """One figure of each repeat."""
    return [getattr(one, figure) for one in found]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a ratio must be."""

    limit: float
    least: bool = False

    def __str__(self) -> str:
        return f"{'>=' if self.least else '<='} {self.limit:g}"

    def met(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


def against(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """The ratios of the repeats."""
    return [value / other for value, other in zip(values, others, strict=True)]


def show_figures(title: str, found: Measured) -> None:
    """The median of every figure of every side."""
    print(f"\n{title} (medians of {len(next(iter(found.values())))})")
    print(f"  {'':10} {'p50 us':>10} {'p99 us':>10} {'frames/s':>10} {'CPU us':>10} {'missing':>8}")
    for name, repeats in found.items():
        p50, p99, fps, cpu = (statistics.median(pick(repeats, key)) for key in ("p50_us", "p99_us", "fps", "cpu_us"))
        print(f"  {name:10} {p50:10.1f} {p99:10.1f} {fps:10.0f} {cpu:10.1f} {sum(pick(repeats, 'missing')):8.0f}")


def show(title: str, values: Sequence[float], bar: Bar, unit: str = "") -> None:
    """The median beside its bar, with what each repeat gave."""
    median = statistics.median(values)
    each = " ".join(f"{value:.3g}" for value in values)
    print(f"  {'met  ' if bar.met(median) else 'SHORT'} {title}: {median:.3g}{unit} (bar {bar}{unit}; {each})")


def once(benchmark: Any, work: Callable[[], Any]) -> Any:
    """Runs a comparison, which repeats by itself, as one round of pytest-benchmark; says how much of the machine was taken away."""
    before = _times()
    found = benchmark.pedantic(work, rounds=1, iterations=1)
    spent = [after - start for after, start in zip(_times(), before, strict=True)]
    print(f"\n(the host gave {spent[STEAL] / sum(spent):.0%} of the processor time to other machines meanwhile)")
    return found


def _times() -> list[int]:
    """Ticks of all processors by what they did: the first line of /proc/stat, see proc(5)."""
    first, *_ = Path("/proc/stat").read_text().splitlines()
    return [int(ticks) for ticks in first.split()[1:9]]
