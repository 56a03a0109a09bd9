"""What a run's report says, as text: totals at the end, rates while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Report = Mapping[str, Any]


def total(counts: Any) -> int:
    """Sum of all counters in a (nested) mapping."""
    return sum(total(each) for each in counts.values()) if isinstance(counts, Mapping) else int(counts)


def outputs(report: Report) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """`business.output` and its figures."""
    for business, named in report["outputs"].items():
        for output, figures in named.items():
            yield f"{business}.{output}", figures


def milliseconds(value: float | None) -> str:
    """`31.2 ms`, or `-` where nothing was measured."""
    return "-" if value is None else f"{value:.1f} ms"


def count(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def dropped(stream: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """`dropped: at the source 2 (latest); pet.boxes 1 (error)`. No sum: a frame may be dropped on several ways at once."""
    places = []
    for place, causes in counts.items():
        where = "at the source" if place == stream else place
        places.append(f"{where} " + ", ".join(f"{number} ({cause})" for cause, number in causes.items()))
    return f"dropped: {'; '.join(places)}"


def summary(report: Report, goals: Mapping[str, str]) -> list[str]:
    """A line for each stream and output (with its goals, in words), what went wrong, and what it took."""
    lines = []
    running = report["running_seconds"]
    for name, stream in report["streams"].items():
        lost = f"; {dropped(name, stream['dropped'])}" if total(stream["dropped"]) else ", none dropped"
        lines.append(f"{name}: {count(stream['in'], 'frame')} read{lost}{_repairs(stream)}")
    for name, figures in outputs(report):
        rate = f", {figures['results'] / running:.1f} a second" if running and figures["results"] else ""
        wanted = f" (goal: {goals[name]})" if name in goals else ""
        lines.append(f"{name}: {count(figures['results'], 'result')}{rate}{_latency(figures['latency_ms'])}{wanted}")
    lines += [
        f"{', '.join(node['names']) or node['op']}: {count(node['errors'], 'error')}" for node in report["nodes"].values() if node["errors"]
    ]
    for number, noun in ((len(report["poison"]), "poison frame"), (report["state_resets"], "state reset")):
        if number:
            lines.append(count(number, noun))
    restarts = sum(worker["restarts"] for worker in report["workers"])
    if restarts:
        lines.append(f"{count(restarts, 'restart')} of workers")
    lines.append(
        f"{report['wall_seconds']:.1f} s, {report['cpu_seconds']:.1f} s of processor time, "
        f"{report['shared_memory_bytes'] / 1e6:.1f} MB of shared memory, plan {report['plan'][:12]}"
    )
    return lines


def _repairs(stream: Mapping[str, int]) -> str:
    """What was wrong with a source and did not stop it."""
    nouns = (("corrupt", "damaged picture"), ("repaired", "repaired timestamp"), ("reconnects", "reconnect"))
    found = [count(number, noun) for key, noun in nouns if (number := stream.get(key, 0))]
    return f"; {', '.join(found)}" if found else ""


def _latency(measured: Mapping[str, float | None]) -> str:
    if measured["p50"] is None:
        return ""
    p50, p99, most = (milliseconds(measured[key]) for key in ("p50", "p99", "max"))
    return f", latency {p50} median, {p99} p99, {most} at most"


class Rates:
    """Rates a second of a running plan, over the last two seconds or so."""

    WINDOW_S = 2.0

    def __init__(self) -> None:
        self._looks: deque[Report] = deque()

    def look(self, snapshot: Report) -> None:
        """Remembers a snapshot; rates are between it and the oldest one in the window."""
        self._looks.append(snapshot)
        while len(self._looks) > 2 and snapshot["wall_seconds"] - self._looks[1]["wall_seconds"] >= self.WINDOW_S:
            self._looks.popleft()

    def of_stream(self, name: str, key: str) -> float:
        """Frames a second `in` or `out` of a stream."""
        return self._rate(lambda report: report["streams"][name][key])

    def of_output(self, business: str, output: str) -> float:
        """Results a second."""
        return self._rate(lambda report: report["outputs"][business][output]["results"])

    def _rate(self, counter: Callable[[Report], int]) -> float:
        if len(self._looks) < 2:
            return 0.0
        before, after = self._looks[0], self._looks[-1]
        seconds: float = after["wall_seconds"] - before["wall_seconds"]
        return (counter(after) - counter(before)) / seconds if seconds > 0 else 0.0


def line(snapshot: Report, rates: Rates) -> str:
    """The figures of a running plan in one line."""
    parts = []
    for name, stream in snapshot["streams"].items():
        lost = total(stream["dropped"])
        parts.append(f"{name} {rates.of_stream(name, 'in'):.1f} frames a second" + (f", {count(lost, 'drop')}" if lost else ""))
    for name, figures in outputs(snapshot):
        parts.append(f"{name} {count(figures['results'], 'result')} ({milliseconds(figures['latency_ms']['p50'])})")
    return "  ".join(parts)
