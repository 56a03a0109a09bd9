"""Who is in a zone, who comes and goes, and who stays long."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from devices.spec import Spec, Specs
from ops import snapshot
from ops.boxes.geometry import Point, inside
from ops.contract import Context
from ops.count.common import Counter, check_polygon, happened
from ops.value import Frame, Records

TRACK = np.dtype([("id", "<i4"), ("dwelt", "?"), ("seen", "<i8"), ("since_ns", "<i8"), ("last_ns", "<i8"), ("point", "<f8", (2,))])
CLOCK = np.dtype([("frame", "<i8"), ("entered", "<i8"), ("left", "<i8")])

ENTER, LEAVE, DWELL = 0, 1, 2


class Zone(Counter):
    """Watches a polygon: `enter` and `leave` of tracks, and `dwell` once a track has stayed for `dwell_s` seconds.

    The `value` of an event is the time spent inside in seconds (0 at `enter`), its `point` where the track is. A track unseen for more than
    `patience` frames has left, at the time it was last seen. Totals: `occupancy` now, `entered` and `left` so far.
    """

    op = "count.zone"
    events = ("enter", "leave", "dwell")
    totals = ("occupancy", "entered", "left")
    drawn = {"zone": "zones"}

    class Config(Counter.Config):
        """`zone`: a polygon in pixels of the source frame. `dwell_s`: seconds inside after which `dwell` is told (none: never)."""

        zone: Annotated[tuple[Point, ...], Field(min_length=3, max_length=256)]
        dwell_s: Annotated[float, Field(gt=0)] | None = None

    def infer(self, specs: Specs) -> dict[str, Spec]:
        check_polygon(np.array(self.config.zone), "zone")
        return super().infer(specs)

    def open(self, context: Context) -> None:
        super().open(context)
        self._polygon = np.array(self.config.zone)
        self._inside = np.empty(0, TRACK)
        self._frame = 0
        self._entered = self._left = 0

    def run(self, frame: Frame, *, detections: Records) -> dict[str, Records]:
        self._frame += 1
        ids, points = self.tracks(detections)
        within = inside(points, self._polygon)
        known = self._inside
        seen = np.isin(known["id"], ids)
        where = np.searchsorted(ids, known["id"][seen])
        stays = np.zeros(len(known), bool)
        stays[seen] = within[where]
        here = known[stays]
        here["seen"], here["last_ns"], here["point"] = self._frame, frame.pts_ns, points[where[within[where]]]

        gone = seen & ~stays
        known["last_ns"][gone], known["point"][gone] = frame.pts_ns, points[where[~within[where]]]
        lost = np.flatnonzero(~seen & (self._frame - known["seen"] > self.config.patience))[: self._limit]
        leaving = known[np.union1d(np.flatnonzero(gone), lost)]
        away = known[np.setdiff1d(np.flatnonzero(~seen), lost)]

        new = within & ~np.isin(ids, known["id"])
        entering = np.zeros(int(new.sum()), TRACK)
        entering["id"], entering["seen"], entering["point"] = ids[new], self._frame, points[new]
        entering["since_ns"] = entering["last_ns"] = frame.pts_ns

        dwelling = np.zeros(len(here), bool)
        if self.config.dwell_s is not None:
            dwelling = ~here["dwelt"] & (_seconds(here) >= self.config.dwell_s)
            here["dwelt"] |= dwelling
        self._entered += len(entering)
        self._left += len(leaving)
        self._inside = np.concatenate([here, away, entering])

        told = np.concatenate([entering, leaving, here[dwelling]])
        names = np.repeat([ENTER, LEAVE, DWELL], [len(entering), len(leaving), int(dwelling.sum())])
        event = happened(names, told["id"], _seconds(told), told["point"])
        return {"event": event, "totals": self.counted(np.array([len(self._inside), self._entered, self._left]))}

    def save(self) -> bytes:
        clock = np.array([(self._frame, self._entered, self._left)], CLOCK)
        return snapshot.pack(self.op, 1, {"clock": clock, "tracks": self._inside})

    def restore(self, state: bytes) -> None:
        arrays = snapshot.unpack(self.op, 1, {"clock": CLOCK, "tracks": TRACK}, state)
        if len(arrays["clock"]) != 1 or not np.isfinite(arrays["tracks"]["point"]).all():
            raise ValueError(f"state of {self.op}: expected one clock and finite points, got something else")
        self._frame, self._entered, self._left = (int(value) for value in arrays["clock"][0])
        self._inside = arrays["tracks"]


def _seconds(tracks: np.ndarray) -> np.ndarray:
    return np.asarray((tracks["last_ns"] - tracks["since_ns"]) / 1e9)
