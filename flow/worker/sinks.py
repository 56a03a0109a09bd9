"""The last stage of a chain: a value of a frame becomes a result and goes where the manifest's reader wants it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from flow.entry import FINAL, RESET, Entry
from flow.ledger import Block, latency_bucket
from flow.link.rows import RowSender
from flow.plan.value import Sink
from flow.result import Result, make_result
from flow.said import Said
from flow.sinks.contract import Sink as SinkTarget
from ops.value import Frame, Image


class ResultsTarget:
    """Hands results to the executor's process, which gives them to `Executor.results`. `seen`: the last seq it has of each stream.

    `arrived`: how many results it has.
    """

    wants = "result"

    def __init__(self, rows: RowSender, seen: Mapping[str, int], arrived: int = 0) -> None:
        self.rows, self.seen, self.arrived = rows, seen, arrived

    def ready(self) -> bool:
        return self.rows.ready()

    def write(self, result: Result, picture: Image | None) -> None:
        self.rows.give(result.line())

    def poll(self) -> bool:
        return self.rows.pump()

    def stirs(self) -> bool:
        return self.rows.stirs()

    def settled(self) -> bool:
        return self.rows.published == self.rows.given

    def close(self) -> None:
        self.rows.close()


class Nowhere:
    """The target of a shadow: its rows are told, and written nowhere."""

    wants = "result"

    def open(self, *, resume: bool) -> Mapping[str, int]:
        return {}

    def write(self, result: Result, picture: Image | None) -> None:
        return

    def close(self) -> None:
        return


class Unopened:
    """In the place of a target that another worker still writes."""

    wants = "result"


class SinkRunner:
    """Writes one output. After a restart rows that an earlier life has written are not written again."""

    def __init__(self, sink: Sink, target: SinkTarget | ResultsTarget | Nowhere | Unopened, block: Block, *, place: int, plan: str) -> None:
        self.sink, self.target, self.block, self.place, self.plan = sink, target, block, place, plan
        self.key = f"sink:{sink.id}"
        self.written: Mapping[str, int] = {}
        self.stopped = self.opened = False
        self.ends_here = True
        """Whether nobody goes on with this output: then what operators still hold at a cut is written."""
        self.every = 0
        """Above 0: rows of frames whose seq is a multiple of it are told, beside where they go."""
        self.tell: Callable[..., None] | None = None
        self._reset = False
        self._said = Said(sink.id, sink.spec, block)
        self._results, self._latency, self._most, self._last, self._gap, self._next = (
            block.index(f"{self.key}.{name}") for name in ("results", "latency:0", "max_ns", "last_ns", "gap_ns", "next_seq")
        )

    def open(self, *, resume: bool) -> None:
        """Raises SinkError."""
        if isinstance(self.target, ResultsTarget):
            self.written = self.target.seen
            self.block.set(f"{self.key}.results", self.target.arrived)  # others are given, and counted, again
        elif not isinstance(self.target, Unopened):
            self.written = self.target.open(resume=resume)
            if getattr(self.target, "lasting", False):
                self.written = {self.sink.stream: self.block.words[self._next] - 1, **self.written}
        self.opened = True

    def succeed(self, target: SinkTarget | ResultsTarget | Nowhere, last_ns: int) -> None:
        """Goes on with an output that another worker has written so far, its last row at `last_ns`. Raises SinkError."""
        self.target = target
        words = self.block.words
        words[self._last] = words[self._last] or last_ns
        self.open(resume=True)

    def ready(self) -> bool:
        return not isinstance(self.target, ResultsTarget) or self.stopped or self.target.ready()

    def run(self, entry: Entry, stream: str, streams: list[str], value: Any) -> None:
        """Writes the frame's row or picture. Raises SinkError."""
        self._reset |= bool(entry.flags & RESET)
        if value is None or self.stopped or self.written.get(stream, -1) >= entry.seq:
            return
        if entry.flags & FINAL and not self.ends_here:
            return
        now, words = time.monotonic_ns(), self.block.words
        if words[self._last]:
            words[self._gap] = max(words[self._gap], now - words[self._last])
        words[self._last] = now
        latency = now - entry.capture_ns
        joined = tuple(Frame(streams[index], seq, pts) for index, seq, pts in entry.joined)
        frame = entry.frame(stream)
        picture = value if self.target.wants == "picture" else None
        result = make_result(
            self.sink, frame, None if picture is not None else value,
            plan=self.plan, latency_ms=latency / 1e6, reset=self._reset, inputs=joined,
        )  # fmt: skip
        assert not isinstance(self.target, Unopened)
        self.target.write(result, picture)
        words[self._next] = entry.seq + 1
        if self.every and entry.seq % self.every == 0 and picture is None and self.tell is not None:
            self.tell("row", sink=self.sink.id, row=result.row())
        self._reset = False
        self._said.count(value)
        words[self._results] += 1
        words[self._latency + latency_bucket(latency)] += 1
        words[self._most] = max(words[self._most], latency)

    def poll(self) -> bool:
        return isinstance(self.target, ResultsTarget) and self.target.poll()

    def stirs(self) -> bool:
        """Whether a target that had no room has some."""
        return isinstance(self.target, ResultsTarget) and self.target.stirs()

    def settled(self) -> bool:
        return not isinstance(self.target, ResultsTarget) or self.stopped or self.target.settled()

    def close(self) -> None:
        """Raises SinkError."""
        if self.opened and not isinstance(self.target, Unopened):
            self.target.close()
