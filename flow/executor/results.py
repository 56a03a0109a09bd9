"""Results that come to the executor's own process, and how fast whoever reads them can take them."""

from __future__ import annotations

import json
import os
import queue
from typing import Any

from flow.link import ring as rings
from flow.link.bell import Bell, LiveBell
from flow.link.ring import RingReceiver
from flow.link.rows import SHAPE, RowReceiver
from flow.plan.value import Sink
from flow.result import Result

Arrival = tuple["ResultsInbox", Result]


class ResultsInbox:
    """Receives one output. The supervisor's thread feeds it, a reader's thread empties it; unread results hold the worker back.

    `arrived` is shared by the outputs of a run, so that a reader gets them as they come. `read` is counted by the reader's thread and
    what was queued by the supervisor's: neither waits for the other. Raises OSError when there is no memory for the ring.
    """

    def __init__(self, sink: Sink, arrived: queue.SimpleQueue[Arrival | None], worker: LiveBell) -> None:
        self.sink, self.arrived = sink, arrived
        self.ring = rings.allocate(SHAPE, f"results-{sink.id}")
        """The ring's descriptor, through all lives of its writers."""
        self._rows = RowReceiver(RingReceiver(SHAPE, os.dup(self.ring), _other(worker)))
        self.discarding = False
        self.read = self._queued = 0
        self.held_back = False
        """Whether the worker may be waiting for a reader."""
        self.seen: dict[str, int] = {}
        self.arrived_rows = 0
        """Results that have come, each counted once however often it was sent."""

    @property
    def name(self) -> str:
        """`business.output`."""
        return f"{self.sink.business}.{self.sink.output}"

    def begin(self, worker: LiveBell) -> None:
        """A worker starts to write: what the one before has published is taken in."""
        self.poll()
        self._rows.renew(_other(worker))

    def stirs(self) -> bool:
        """Whether something has come."""
        return self._rows.stirs()

    def poll(self, *, freely: bool = False) -> None:
        """Takes in what has come, and makes room for what has been read; `freely`: for all of it, whoever reads must not hold it up."""
        for line in self._rows.rows():
            row = json.loads(line)
            if row["seq"] <= self.seen.get(row["stream"], -1):
                continue
            self.seen[row["stream"]] = row["seq"]
            self.arrived_rows += 1
            if not self.discarding:
                self._queued += 1
                self.arrived.put((self, as_result(row)))
        self.held_back = self._queued - self.read >= SHAPE.entries // 2  # before it is counted: who reads from now on wakes us
        self._rows.keep(0 if freely else self._queued - self.read)

    def close(self) -> None:
        self._rows.close()
        os.close(self.ring)


def _other(worker: LiveBell) -> Bell:
    return Bell(os.dup(worker.bell), os.dup(worker.word_read_only), own=False)


KEYS = ("business", "version", "output", "stream", "seq", "pts_ns", "time", "plan", "latency_ms", "inputs", "reset")


def as_result(row: dict[str, Any]) -> Result:
    """The Result that a row was written from."""
    payload = {key: value for key, value in row.items() if key not in KEYS}
    return Result(
        row["business"], row["version"], row["output"], row["stream"], row["seq"], row["pts_ns"], row.get("time"), row["plan"],
        row["latency_ms"],
        payload, tuple(row.get("inputs", ())), bool(row.get("reset", False)),
    )  # fmt: skip
