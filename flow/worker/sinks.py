"""The last stage of a chain: a value of a frame becomes a result and goes where the manifest's reader wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

import numpy as np

from devices import kernels
from devices.kernels import counts
from flow.entry import FINAL, RESET
from flow.ledger import LATENCY_BOUNDS, LATENCY_BUCKETS, Block
from flow.link.rows import RowSender
from flow.plan.value import Sample, Sink
from flow.result import Result, make_result
from flow.said import Said
from flow.sinks.contract import Sink as SinkTarget
from ops.value import Frame, Image

COUNTS = ("results", "max_ns", "last_ns", "gap_ns", "next_seq", *(f"latency:{bucket}" for bucket in range(LATENCY_BUCKETS)))
"""In the order of `devices.kernels.counts`."""


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
        self.sample: Sample | None = None
        """Rows of these frames are told, beside where they go."""
        self.tell: Callable[..., None] | None = None
        self._reset = False
        self._said = Said(sink.id, sink.spec, block)
        found = [block.index(f"{self.key}.{name}") for name in COUNTS]
        self._counts = np.array([*found, *LATENCY_BOUNDS], np.int64)
        self._places: int = self._counts.ctypes.data
        self._count = kernels.functions()["ace_result"]

    def open(self, *, resume: bool) -> None:
        """Raises SinkError."""
        if isinstance(self.target, ResultsTarget):
            self.written = self.target.seen
            self.block.set(f"{self.key}.results", self.target.arrived)  # others are given, and counted, again
        elif not isinstance(self.target, Unopened):
            self.written = self.target.open(resume=resume)
            if getattr(self.target, "lasting", False):
                self.written = {self.sink.stream: self.block.words[self._counts[counts.COMING]] - 1, **self.written}
        self.opened = True

    def succeed(self, target: SinkTarget | ResultsTarget | Nowhere, last_ns: int) -> None:
        """Goes on with an output that another worker has written so far, its last row at `last_ns`. Raises SinkError."""
        self.target = target
        words, last = self.block.words, self._counts[counts.LAST]
        words[last] = words[last] or last_ns
        self.open(resume=True)

    def ready(self) -> bool:
        return not isinstance(self.target, ResultsTarget) or self.stopped or self.target.ready()

    def run(self, frame: Frame, flags: int, capture_ns: int, value: Any, joined: tuple[Frame, ...] = ()) -> None:
        """Writes the frame's row or picture; `joined` are the frames that met in it. Raises SinkError."""
        if flags:
            self._reset |= bool(flags & RESET)
            if flags & FINAL and not self.ends_here:
                return
        if value is None or self.stopped or (self.written and self.written.get(frame.stream, -1) >= frame.seq):
            return
        now, target = monotonic_ns(), self.target
        latency = now - capture_ns
        picture = value if target.wants == "picture" else None
        result = make_result(
            self.sink, frame, None if picture is not None else value,
            plan=self.plan, latency_ms=latency / 1e6, reset=self._reset, inputs=joined,
        )  # fmt: skip
        assert not isinstance(target, Unopened)
        target.write(result, picture)
        if self.sample is not None and self.sample.takes(frame.seq, frame.pts_ns) and picture is None and self.tell is not None:
            self.tell("row", sink=self.sink.id, row=result.row())
        self._reset = False
        if self._said.counts:
            self._said.count(value)
        self._count(self.block.words_address, self._places, frame.seq, now, latency)

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
