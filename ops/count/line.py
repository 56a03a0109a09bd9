"""Counting tracks that cross a line."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from devices.spec import Spec, Specs
from ops import snapshot
from ops.boxes.geometry import Point
from ops.contract import Context
from ops.count.common import Counter, check_polygon, happened
from ops.value import Frame, Records

TRACK = np.dtype([("id", "<i4"), ("side", "<i4"), ("seen", "<i8"), ("point", "<f8", (2,))])
CLOCK = np.dtype([("frame", "<i8"), ("in", "<i8"), ("out", "<i8")])


class Line(Counter):
    """Counts tracks that cross a line between its two ends, by direction.

    Seen by someone who walks from the first point to the second, a crossing from left to right is `in`, from right to left `out` (a line
    drawn from left to right: downwards is `in`). A track changes sides when its point is more than `margin` beyond the line, so one that
    stands on it is not counted again and again. Each event has the track, the count of its direction as `value` and the place of the
    crossing as `point`.
    """

    op = "count.line"
    events = totals = ("in", "out")
    drawn = {"line": "lines"}

    class Config(Counter.Config):
        """`line`: its two ends in pixels of the source frame. `margin`: pixels beyond the line that count as crossed."""

        line: tuple[Point, Point]
        margin: Annotated[float, Field(ge=0)] = 2.0

    def infer(self, specs: Specs) -> dict[str, Spec]:
        check_polygon(np.array(self.config.line), "line")
        return super().infer(specs)

    def open(self, context: Context) -> None:
        super().open(context)
        self._start, end = np.array(self.config.line)
        self._along = (end - self._start) / np.hypot(*(end - self._start))
        self._length = float(np.hypot(*(end - self._start)))
        self._tracks = np.empty(0, TRACK)
        self._frame = 0
        self._totals = np.zeros(2, np.int64)

    def run(self, frame: Frame, *, detections: Records) -> dict[str, Records]:
        self._frame += 1
        ids, points = self.tracks(detections)
        beyond = self._beyond(points)
        sides = np.where(np.abs(beyond) > self.config.margin, np.sign(beyond), 0).astype(np.int32)

        tracks = self._tracks
        tracks = tracks[self._frame - tracks["seen"] <= self.config.patience + 1]
        known = np.isin(tracks["id"], ids)
        where = np.searchsorted(ids, tracks["id"][known])  # of each known track among this frame's
        old = tracks[known]
        crossed = (old["side"] * sides[where]) < 0
        before, after = old["point"][crossed], points[where[crossed]]
        part = self._beyond(before) / (self._beyond(before) - self._beyond(after))
        places = before + part[:, None] * (after - before)
        reach = (places - self._start) @ self._along
        hit = (reach >= 0) & (reach <= self._length)

        names = np.where(sides[where[crossed]] > 0, 0, 1)[hit]
        values = np.empty(len(names))
        for name in (0, 1):
            counted = names == name
            values[counted] = self._totals[name] + 1 + np.arange(counted.sum())
            self._totals[name] += counted.sum()

        sided = sides[where] != 0
        old["seen"] = self._frame
        old["side"][sided] = sides[where][sided]
        old["point"][sided] = points[where][sided]
        tracks[known] = old
        fresh = np.flatnonzero(~np.isin(ids, tracks["id"]))
        started = np.empty(len(fresh), TRACK)
        started["id"], started["side"], started["seen"], started["point"] = ids[fresh], sides[fresh], self._frame, points[fresh]
        self._tracks = np.concatenate([tracks, started])
        return {"event": happened(names, old["id"][crossed][hit], values, places[hit]), "totals": self.counted(self._totals)}

    def _beyond(self, points: np.ndarray) -> np.ndarray:
        """Distance (n,) of points to the right of the line, negative to the left."""
        offset = points - self._start
        return np.asarray(self._along[0] * offset[:, 1] - self._along[1] * offset[:, 0])

    def save(self) -> bytes:
        clock = np.array([(self._frame, *self._totals)], CLOCK)
        return snapshot.pack(self.op, 1, {"clock": clock, "tracks": self._tracks})

    def restore(self, state: bytes) -> None:
        arrays = snapshot.unpack(self.op, 1, {"clock": CLOCK, "tracks": TRACK}, state)
        if len(arrays["clock"]) != 1 or not np.isfinite(arrays["tracks"]["point"]).all():
            raise ValueError(f"state of {self.op}: expected one clock and finite points, got something else")
        frame, *totals = (int(value) for value in arrays["clock"][0])
        self._frame, self._totals, self._tracks = frame, np.array(totals, np.int64), arrays["tracks"]
