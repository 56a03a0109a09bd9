"""Tracking by overlap alone (Bochinski et al. 2017, doi:10.1109/AVSS.2017.8078516), with optimal assignment instead of greedy."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from ops.boxes.geometry import overlaps
from ops.contract import port
from ops.decode.common import Fraction
from ops.track.assignment import assign
from ops.track.tracker import Tracker
from ops.value import Frame, Records

TRACK = np.dtype([("id", "<i4"), ("class_id", "<i4"), ("seen", "<i8"), ("box", "<f8", (4,))])


class Iou(Tracker):
    """Follows objects that overlap themselves from frame to frame: cheap, enough for a high frame rate and few objects.

    Every detection with a score of `score` or more comes out with the number of its track, a new one where none overlaps by `iou`. Numbers
    count from 1 in each instance. A track unseen for more than `buffer` frames is forgotten.
    """

    op = "track.iou"
    track = TRACK
    inputs = {"detections": port("detections")}
    outputs = {"detections": port("detections", doc="the detections of this frame, `track` set")}

    class Config(Tracker.Config):
        """`iou`: least overlap with a track's last box. `score`: detections below are left out. `buffer`: frames that a track may be
        unseen. `per_class`: a detection continues a track of its own class only."""

        iou: Fraction = 0.3
        score: Fraction = 0.0
        buffer: Annotated[int, Field(ge=0, le=100_000)] = 5
        per_class: bool = True

    def run(self, frame: Frame, *, detections: Records) -> Records:
        detections = detections[detections["score"] >= self.config.score]
        self._frame += 1
        tracks = self._tracks[self._frame - self._tracks["seen"] <= self.config.buffer + 1]

        owner = np.full(len(detections), -1)
        if len(tracks) and len(detections):
            likeness = overlaps(tracks["box"], detections["box"])
            if self.config.per_class:
                likeness[tracks["class_id"][:, None] != detections["class_id"]] = -1.0
            likeness[likeness <= 0] = -1.0  # what does not overlap is no pair at any limit
            rows, columns = assign(1.0 - likeness, 1.0 - self.config.iou)
            owner[columns] = rows
        starting = np.flatnonzero(owner < 0)
        owner[starting] = len(tracks) + np.arange(len(starting))
        started = np.zeros(len(starting), TRACK)
        started["id"] = self._next_id + np.arange(len(starting))
        self._next_id += len(starting)

        tracks = np.concatenate([tracks, started])
        tracks["box"][owner], tracks["class_id"][owner], tracks["seen"][owner] = detections["box"], detections["class_id"], self._frame
        self._tracks = tracks
        detections["track"] = tracks["id"][owner]
        return detections
