"""Ratios of engines that took turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = int(os.environ.get("ACE_BENCH_ROUNDS", "320"))
PROCESSES = 3
FEWEST = 20
"""With fewer clean pairs than these a process's ratio is that of all its runs."""

TIE = 1.05
"""Bars of 1.0 count as held up to this."""

SCRIPT = Path(__file__).with_name("turns.py")


@dataclass(frozen=True)
class Contestant:
    """An engine with a model: `native`, `onnxruntime`, `exact` (the same with sums that do not saturate), `openvino` or `litert`."""

    label: str
    engine: str
    path: str
    threads: int = 1
    dims: Mapping[str, int] | None = field(default=None)


@dataclass(frozen=True)
class Bar:
    """`most`: what the ratio may be; `least` the other way round."""

    most: float | None = None
    least: float | None = None

    def said(self, ratio: float) -> str:
        """The bar, and whether the ratio holds it."""
        if self.most is not None:
            return f"bar <= {self.most:.2f}  {'holds' if ratio <= (TIE if self.most == 1 else self.most) else 'DOES NOT HOLD'}"
        if self.least is not None:
            return f"bar >= {self.least:.2f}  {'holds' if ratio >= self.least else 'DOES NOT HOLD'}"
        return ""


@dataclass(frozen=True)
class Paired:
    """What the processes measured: seconds of each run by label, and which of them nothing interrupted. `error`: with whose outputs each
    was compared, and signal over difference in dB."""

    seconds: Sequence[Mapping[str, np.ndarray]]
    clean: Sequence[Mapping[str, np.ndarray]]
    error: Mapping[str, tuple[str, float]]
    fma: float

    def median_ms(self, label: str) -> float:
        """Of the middle process."""
        return 1e3 * float(np.median([self._typical(number, label) for number in range(len(self.seconds))]))

    def ratio(self, label: str, *others: str) -> float:
        """Its time over that of the fastest of the others that took part, of the middle process."""
        there = self.there(*others)
        every = range(len(self.seconds))
        return float(np.median([self._of(at, label, min(there, key=lambda name, at=at: self._typical(at, name))) for at in every]))  # type: ignore[misc]

    def there(self, *labels: str) -> list[str]:
        """Which of these took part."""
        return [label for label in labels if label in self.seconds[0]]

    def pairs(self) -> int:
        """The fewest clean runs of a contestant in a process."""
        return min(int(every.sum()) for each in self.clean for every in each.values())

    def _typical(self, process: int, label: str) -> float:
        return float(np.median(self.seconds[process][label][self._usable(process, label)]))

    def _of(self, process: int, label: str, other: str) -> float:
        """The median of runs next to each other."""
        usable = self._usable(process, label, other)
        return float(np.median((self.seconds[process][label] / self.seconds[process][other])[usable]))

    def _usable(self, process: int, *labels: str) -> np.ndarray:
        """Rounds in which all of them went on all the time; every round where those are too few."""
        clean = np.logical_and.reduce([self.clean[process][label] for label in labels])
        return clean if clean.sum() >= FEWEST else np.ones_like(clean)


def measure(contestants: Sequence[Contestant], home: Path, *, processes: int = PROCESSES) -> Paired:
    """Lets them take turns in some processes, one after another. `home`: a folder that peers may write settings to."""
    (home / "intel").mkdir(exist_ok=True)
    (home / "intel" / "openvino_telemetry").write_text("0")  # what `opt_in_out --opt_out` writes
    order = json.dumps({"contestants": [asdict(each) for each in contestants], "rounds": ROUNDS})
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    found: list[dict[str, Any]] = []
    for _ in range(processes):
        done = subprocess.run([sys.executable, str(SCRIPT)], input=order, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = [{label: np.array(times) for label, times in each["seconds"].items()} for each in found]
    clean = [{label: np.array(every, bool) for label, every in each["clean"].items()} for each in found]
    error = {label: (first, decibels) for label, (first, decibels) in found[0]["error"].items()}
    for label in found[0]["missing"]:
        print(f"    {label}: not installed, left out")
    return Paired(seconds, clean, error, max(each["fma"] for each in found))


def show(title: str, found: Paired, figures: Sequence[tuple[str, float, Bar]]) -> None:
    """Times, how near outputs are to the first contestant's, and ratios beside their bars."""
    load = os.getloadavg()[0]
    print(f"\n{title}: at least {found.pairs()} clean runs in each of {len(found.seconds)} processes, load {load:.1f}")
    for label in found.seconds[0]:
        first, error = found.error.get(label, ("", 0.0))
        near = f"   outputs against {first}: {'equal' if error == np.inf else f'{error:.0f} dB'}" if first else ""
        print(f"    {label:44s} {found.median_ms(label):8.2f} ms{near}")
    for name, ratio, bar in figures:
        print(f"  {name:72s} {ratio:6.3f}   {bar.said(ratio)}")
