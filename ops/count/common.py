"""What line and zone counting share: which tracks are looked at, and where they are."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from devices.engine import ModelInfo
from devices.spec import RecordsSpec, Spec, Specs
from ops.boxes.geometry import Anchor, anchors
from ops.contract import Operator, SpecError, port, records
from ops.labels import Chosen
from ops.value import Records


class Counter(Operator):
    """Base of the counters. Detections without a track (-1) are not counted: put a tracker before."""

    kind = "stateful"
    inputs = {"detections": port("detections", doc="tracked detections")}
    outputs = {
        "event": port("event", doc="what happened in this frame"),
        "totals": port("event", doc="the counts so far, one record a name, every frame"),
    }
    events: tuple[str, ...] = ()
    totals: tuple[str, ...] = ()

    class Config(Operator.Config):
        """`classes`: names of the classes counted (empty: all). `anchor`: the point of a box that counts (bottom, center or top).
        `patience`: frames that a track may be unseen before it is given up."""

        classes: frozenset[str] = frozenset()
        anchor: Anchor = "bottom"
        patience: Annotated[int, Field(ge=0, le=100_000)] = 30

    def __init__(self, config: Any = None, model: ModelInfo | None = None) -> None:
        super().__init__(config, model)
        self._classes = Chosen(self.config.classes)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        spec = records(specs["detections"], "detections", "detections")
        self._classes.learn(spec, "detections")
        self._limit = spec.capacity
        return {
            "event": RecordsSpec("event", 2 * spec.capacity, self.events),
            "totals": RecordsSpec("event", len(self.totals), self.totals),
        }

    def tracks(self, detections: Records) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (n,) and points (n, 2) of the tracks of this frame, each once, in rising order."""
        chosen = self._classes.of(detections)
        chosen = chosen[chosen["track"] >= 0]
        ids, first = np.unique(chosen["track"], return_index=True)
        return ids, anchors(chosen["box"][first].astype(np.float64), self.config.anchor)

    def counted(self, totals: np.ndarray) -> Records:
        """The record of each total."""
        out = np.zeros(len(totals), RecordsSpec("event", 1).dtype)
        out["name"], out["track"], out["value"] = np.arange(len(totals)), -1, totals
        return out


def happened(names: np.ndarray, tracks: np.ndarray, values: np.ndarray, points: np.ndarray) -> Records:
    """Event records (n,)."""
    out = np.empty(len(tracks), RecordsSpec("event", 1).dtype)
    out["name"], out["track"], out["value"], out["point"] = names, tracks, values, points
    return out


def check_polygon(points: np.ndarray, what: str) -> None:
    """Raises SpecError for a figure without an area (three points or more) or length (two)."""
    if len(points) == 2:
        flat = bool((points[0] == points[1]).all())
    else:
        x, y = points.T
        flat = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) < 1e-9
    if flat:
        raise SpecError(port="detections", expected=f"a {what} with some extent", got=str(points.tolist()), hint="its points fall together")
