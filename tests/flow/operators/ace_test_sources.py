"""A camera for tests that vanishes after ten pictures and comes back for ten more."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from devices.spec import ImageSpec
from flow.sources.contract import Picture, Probe, SourceError

SPEC = ImageSpec(64, 48, "gray8")
PICTURES = 10


class FlakySource:
    """`flaky:FILE`: the file remembers that it has vanished once."""

    scheme = "flaky"

    @classmethod
    def probe(cls, uri, options, secret):
        return Probe(SPEC, 50.0, True)

    @classmethod
    def open(cls, uri, options, secret):
        return FlakyReader(Path(uri.removeprefix("flaky:")))


class FlakyReader:
    def __init__(self, mark):
        self.mark = mark
        self.second = mark.exists()
        self.read_so_far = 0

    @property
    def complete(self):
        return self.second and self.read_so_far == PICTURES

    def read(self):
        if self.read_so_far == PICTURES:
            if self.second:
                return None
            self.mark.touch()
            raise SourceError("the camera was unplugged")
        time.sleep(0.02)
        self.read_so_far += 1
        return Picture(SPEC, (np.full((48, 64), 77, np.uint8),), self.read_so_far * 20_000_000, time.time_ns())

    def close(self):
        pass
