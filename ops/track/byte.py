"""ByteTrack (Zhang et al. 2022, arXiv:2110.06864)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from ops.boxes.geometry import overlaps
from ops.contract import port
from ops.decode.common import Fraction
from ops.track import kalman
from ops.track.assignment import assign
from ops.track.tracker import Tracker
from ops.value import Frame, Records

TRACK = np.dtype([("id", "<i4"), ("class_id", "<i4"), ("seen", "<i8"), ("tracked", "?"), *kalman.FIELDS])
"""`id` is 0 until the track is confirmed; `seen` is the last frame with a detection; `tracked` is False while it is lost. Oldest first."""

SECOND = 0.5
"""Largest distance (1 - IoU) of a weak detection from its track, as in the paper's code."""
UNCONFIRMED = 0.7
"""Largest distance of a detection from a track seen once."""
SAME = 0.15
"""Distance below which a followed and a lost track are one."""


class Byte(Tracker):
    """Follows objects from frame to frame: every detection that belongs to a track comes out with the track's number.

    Strong detections (score >= `high`) are matched first, by IoU with the tracks' predicted boxes, weak ones (>= `low`) then with the
    tracks left over: that carries a track through blur and cover. So the detector's own `score` must be as low as `low`, or the second
    stage has nothing to work on. A track starts with a detection of `start` or more and is confirmed by the next frame (at once in the
    first frame); then it gets a number, counted from 1 in each instance, and comes out. A lost one is looked for during `buffer` frames.
    Motion is measured in frames processed.
    """

    op = "track.byte"
    track = TRACK
    finite = tuple(name for name, *_ in kalman.FIELDS)
    inputs = {"detections": port("detections", doc="weak ones too, from `low` on")}
    outputs = {"detections": port("detections", doc="the detections of this frame that belong to a track, `track` set")}

    class Config(Tracker.Config):
        """`high`: score of the detections matched first. `low`: detections below are ignored. `start`: score that starts a track. `match`:
        largest distance (1 - IoU x score) in the first stage. `buffer`: frames that a lost track is looked for. `per_class`: a detection
        continues a track of its own class only; otherwise class may change along a track."""

        high: Fraction = 0.4
        low: Fraction = 0.1
        start: Fraction = 0.5
        match: Fraction = 0.8
        buffer: Annotated[int, Field(ge=0, le=100_000)] = 30
        per_class: bool = False

    def run(self, frame: Frame, *, detections: Records) -> Records:
        first = self._frame == 0
        self._frame += 1
        tracks = self._tracks
        tracks["velocity"][~tracks["tracked"], 3] = 0.0  # a lost box keeps its height
        kalman.predict(tracks)

        scores = detections["score"]
        strong = np.flatnonzero(scores >= self.config.high)
        weak = np.flatnonzero((scores >= self.config.low) & (scores < self.config.high))
        known, new = np.flatnonzero(tracks["id"] > 0), np.flatnonzero(tracks["id"] == 0)
        owner = np.full(len(detections), -1)  # index of the track that each detection continues

        known, strong = self._match(detections, owner, known, strong, self.config.match, fused=True)
        followed = known[tracks["tracked"][known]]
        lost, _ = self._match(detections, owner, followed, weak, SECOND, fused=False)
        new, strong = self._match(detections, owner, new, strong, UNCONFIRMED, fused=True)

        tracks["tracked"][lost] = False
        found = np.flatnonzero(owner >= 0)
        if len(found):
            owners = owner[found]
            tracks[owners] = kalman.update(tracks[owners], kalman.measure(detections["box"][found]))
            tracks["tracked"][owners] = True
            self._confirm(tracks, owners)
            tracks["seen"][owners] = self._frame
            tracks["class_id"][owners] = detections["class_id"][found]

        starting = strong[scores[strong] >= self.config.start]
        owner[starting] = len(tracks) + np.arange(len(starting))
        alive = (tracks["id"] > 0) & (self._frame - tracks["seen"] <= self.config.buffer)  # an unconfirmed one has one chance
        tracks = np.concatenate([tracks, self._started(detections[starting], confirmed=first)])
        alive = np.concatenate([alive, np.ones(len(starting), bool)])
        alive[self._doubles(tracks, alive)] = False

        out = np.flatnonzero(owner >= 0)
        out = out[((tracks["id"] > 0) & alive)[owner[out]]]
        result = detections[out]
        result["track"] = tracks["id"][owner[out]]
        self._tracks = tracks[alive]
        return np.asarray(result)

    def _match(
        self, detections: Records, owner: np.ndarray, tracks: np.ndarray, chosen: np.ndarray, limit: float, *, fused: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gives detections (indices) to tracks (indices) and returns what is left of both."""
        if not len(tracks) or not len(chosen):
            return tracks, chosen
        likeness = overlaps(kalman.boxes(self._tracks[tracks]), detections["box"][chosen])
        if fused:
            likeness *= detections["score"][chosen]
        likeness[likeness <= 0] = -1.0  # what does not overlap is no pair at any limit
        if self.config.per_class:
            likeness[self._tracks["class_id"][tracks][:, None] != detections["class_id"][chosen]] = -1.0
        rows, columns = assign(1.0 - likeness, limit)
        owner[chosen[columns]] = tracks[rows]
        return np.delete(tracks, rows), np.delete(chosen, columns)

    def _started(self, detections: Records, *, confirmed: bool) -> np.ndarray:
        tracks = np.empty(len(detections), TRACK)
        tracks["id"], tracks["class_id"], tracks["seen"] = 0, detections["class_id"], self._frame
        tracks["tracked"] = True
        kalman.start(tracks, kalman.measure(detections["box"]))
        if confirmed:
            self._confirm(tracks, np.arange(len(tracks)))
        return tracks

    def _confirm(self, tracks: np.ndarray, indices: np.ndarray) -> None:
        """Numbers those of the tracks that have no number yet."""
        new = indices[tracks["id"][indices] == 0]
        tracks["id"][new] = self._next_id + np.arange(len(new))
        self._next_id += len(new)

    def _doubles(self, tracks: np.ndarray, alive: np.ndarray) -> np.ndarray:
        """Indices of the younger of each followed and lost track that lie on one another."""
        followed, lost = np.flatnonzero(alive & tracks["tracked"]), np.flatnonzero(alive & ~tracks["tracked"])
        if not len(followed) or not len(lost):
            return np.empty(0, np.intp)
        same = 1.0 - overlaps(kalman.boxes(tracks[followed]), kalman.boxes(tracks[lost])) < SAME
        if self.config.per_class:
            same &= tracks["class_id"][followed][:, None] == tracks["class_id"][lost]
        a, b = (indices[at] for indices, at in zip((followed, lost), np.nonzero(same), strict=True))
        return np.maximum(a, b)
