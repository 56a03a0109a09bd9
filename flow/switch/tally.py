"""What one output has shown so far: results of what runs and of what is tried, compared where both are of the same frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from flow.ledger import LATENCY_BUCKETS, latency_bucket, quantile_ms
from flow.switch.agreement import agreement
from manifests.sync.runtime import Compared

RUNS, TRIED = 0, 1
ALONE = "only_runs", "only_tried"
MOST_WAITING = 1024
"""Rows of one side that wait for those of the other."""

Row = Mapping[str, Any]


class Tally:
    """Merges the rows of both sides, each of which come in the order of their frames; a row is compared, or counted by why it is not."""

    def __init__(self) -> None:
        self.frames, self.agreed = 0, 0.0
        self.missed = dict.fromkeys(("inputs", *ALONE, "unread", "unfinished"), 0)
        """By cause; other threads may read it, so no cause comes or goes."""
        self._latencies = [0] * LATENCY_BUCKETS, [0] * LATENCY_BUCKETS
        self._waiting: tuple[deque[Row], deque[Row]] = deque(), deque()
        self._last = [-1, -1]

    def take(self, side: int, row: Row) -> None:
        """A row of one of both. A second one of a frame says nothing: its worker was started anew."""
        seq, other = row["seq"], 1 - side
        if seq <= self._last[side]:
            return
        self._last[side] = seq
        theirs = self._waiting[other]
        while theirs and theirs[0]["seq"] < seq:
            theirs.popleft()
            self.missed[ALONE[other]] += 1
        if theirs and theirs[0]["seq"] == seq:
            both = row, theirs.popleft()
            self._compare(both[side], both[other])
        elif self._last[other] > seq:
            self.missed[ALONE[side]] += 1
        else:
            self._wait(side, row)

    def _wait(self, side: int, row: Row) -> None:
        ours = self._waiting[side]
        ours.append(row)
        if len(ours) > MOST_WAITING:
            ours.popleft()
            self.missed[ALONE[side]] += 1

    def _compare(self, runs: Row, tried: Row) -> None:
        if _met(runs) != _met(tried):
            self.missed["inputs"] += 1
            return
        self.frames += 1
        self.agreed += agreement(runs, tried)
        for buckets, row in zip(self._latencies, (runs, tried), strict=True):
            buckets[latency_bucket(int(row["latency_ms"] * 1e6))] += 1

    def finish(self) -> None:
        """No row comes any more."""
        self.missed["unfinished"] += sum(map(len, self._waiting))
        for rows in self._waiting:
            rows.clear()

    def compared(self) -> Compared:
        """The figures of now."""
        latencies = [
            {name: round(value, 3) for name, share in (("p50", 0.5), ("p99", 0.99)) if (value := quantile_ms(buckets, share)) is not None}
            for buckets in self._latencies
        ]
        agreed = round(self.agreed / self.frames, 4) if self.frames else 0.0
        missed = {cause: count for cause, count in self.missed.items() if count}
        return Compared(self.frames, agreed, latencies[RUNS], latencies[TRIED], missed)


def _met(row: Row) -> set[tuple[str, int]]:
    """The frames that met in a join, whatever their order."""
    return {(frame["stream"], frame["seq"]) for frame in row.get("inputs", ())}
