"""What trackers share: tracks with numbers, and how they are handed over."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from devices.spec import Spec, Specs
from ops import snapshot
from ops.contract import Context, Operator, records

CLOCK = np.dtype([("frame", "<i8"), ("next_id", "<i8")])


class Tracker(Operator):
    """Base of them. `track` is the dtype of a track; of its fields those in `finite` are floats."""

    kind = "stateful"
    track: ClassVar[np.dtype[np.void]]
    finite: ClassVar[tuple[str, ...]] = ("box",)

    def infer(self, specs: Specs) -> dict[str, Spec]:
        return {"detections": records(specs["detections"], "detections", "detections")}

    def open(self, context: Context) -> None:
        import lap  # noqa: F401 - it takes milliseconds, which no frame shall wait for

        super().open(context)
        self._tracks = np.empty(0, self.track)
        self._frame = 0
        self._next_id = 1

    def save(self) -> bytes:
        clock = np.array([(self._frame, self._next_id)], CLOCK)
        return snapshot.pack(self.op, 1, {"clock": clock, "tracks": self._tracks})

    def restore(self, state: bytes) -> None:
        arrays = snapshot.unpack(self.op, 1, {"clock": CLOCK, "tracks": self.track}, state)
        tracks = arrays["tracks"]
        if len(arrays["clock"]) != 1 or not all(np.isfinite(tracks[name]).all() for name in self.finite):
            raise ValueError(f"state of {self.op}: expected one clock and finite tracks, got something else")
        self._frame, self._next_id = (int(value) for value in arrays["clock"][0])
        self._tracks = tracks
