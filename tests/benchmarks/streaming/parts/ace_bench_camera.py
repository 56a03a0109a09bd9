"""The producer's side of every measurement, ours and the peers': when a frame is due, what is written, the stamp."""

from __future__ import annotations

import struct
import time

import numpy as np

HEADER = struct.Struct("<qqq")
"""What stands in a frame's first bytes: `time.monotonic_ns()` just before it is handed over, its number, whether it is the last."""


class Camera:
    """Frames at `rate` a second (0: as fast as they are taken) for so many seconds; `write`: the whole frame is written, not its header
    alone."""

    def __init__(self, rate: float, seconds: float, write: bool) -> None:
        self.period_ns = round(1e9 / rate) if rate else 0
        self.length_ns = round(seconds * 1e9)
        self.write = write
        self.number = 0
        self.over = False
        self._due = self._end = 0

    def wait(self) -> bool:
        """Until the next frame is due; False after the last."""
        if self.period_ns and not self.over:
            now = time.monotonic_ns()
            self._due = self._due or now
            if self._due > now:
                time.sleep((self._due - now) / 1e9)
            self._due += self.period_ns
        return not self.over

    def shoot(self, pixels: np.ndarray) -> None:
        """Writes the next frame: uint8, contiguous, of any shape."""
        if self.write:
            pixels.fill(self.number & 255)
        now = time.monotonic_ns()
        self._end = self._end or now + self.length_ns
        self.over = now >= self._end
        HEADER.pack_into(pixels, 0, now, self.number, self.over)
        self.number += 1
