"""Results that come to the executor's own process, and how fast whoever reads them can take them."""

from __future__ import annotations

import json
import queue
from typing import Any

import zmq

from flow.link.zeromq import ZmqReceiver
from flow.plan.value import Sink
from flow.result import Result

MAX_LINE = 16 << 20


Arrival = tuple["ResultsInbox", Result]


class ResultsInbox:
    """Receives one output. The supervisor's thread feeds it, a reader's thread empties it; unread results hold the worker back.

    `arrived` is shared by the outputs of a run, so that a reader gets them as they come. `read` is counted by the reader's thread and
    `_skipped` by the supervisor's: neither waits for the other.
    """

    def __init__(self, sink: Sink, arrived: queue.SimpleQueue[Arrival | None]) -> None:
        self.sink, self.arrived = sink, arrived
        self.discarding = False
        self.read = 0
        self._receiver: ZmqReceiver | None = None
        self._received = self._acknowledged = 0
        self._queued = self._skipped = self._base = 0
        self.seen: dict[str, int] = {}
        self.arrived_rows = 0
        """Results that have come, each counted once however often it was sent."""

    @property
    def name(self) -> str:
        """`business.output`."""
        return f"{self.sink.business}.{self.sink.output}"

    def open(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        """Listens anew, for a worker that starts."""
        self.close()
        self._receiver = ZmqReceiver(context, address, MAX_LINE)
        self._received = self._acknowledged = 0
        self._base = self._queued + self._skipped
        self._receiver.acknowledge(0, 0)

    @property
    def waitable(self) -> Any:
        return None if self._receiver is None else self._receiver.waitable

    def poll(self) -> None:
        """Takes in what has come and acknowledges what has been read."""
        if self._receiver is None:
            return
        before = self._received
        while (message := self._receiver.receive()) is not None:
            self._received = message[0] + 1
            row = json.loads(bytes(message[1]))
            if row["seq"] <= self.seen.get(row["stream"], -1):
                self._skipped += 1
                continue
            self.seen[row["stream"]] = row["seq"]
            self.arrived_rows += 1
            if self.discarding:
                self._skipped += 1
            else:
                self._queued += 1
                self.arrived.put((self, as_result(row)))
        done = max(0, self.read + self._skipped - self._base)
        if self._received != before or done != self._acknowledged:
            self._receiver.acknowledge(self._received, done)
            self._acknowledged = done

    def close(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None


KEYS = ("business", "version", "output", "stream", "seq", "pts_ns", "time", "plan", "latency_ms", "inputs", "reset")


def as_result(row: dict[str, Any]) -> Result:
    """The Result that a row was written from."""
    payload = {key: value for key, value in row.items() if key not in KEYS}
    return Result(
        row["business"], row["version"], row["output"], row["stream"], row["seq"], row["pts_ns"], row.get("time"), row["plan"],
        row["latency_ms"],
        payload, tuple(row.get("inputs", ())), bool(row.get("reset", False)),
    )  # fmt: skip
