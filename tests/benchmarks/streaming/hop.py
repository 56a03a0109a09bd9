"""What is measured on every side: frames of a size that go from a producer over so many hops to a consumer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SIZES = {"VGA": (640, 480), "FullHD": (1920, 1080), "4K": (3840, 2160)}
RATES = {"VGA": 150.0, "FullHD": 150.0, "4K": 60.0}
SECONDS = {"VGA": 1.5, "FullHD": 1.5, "4K": 2.3}
"""Length of a run, the recorder's warm-up included."""


@dataclass(frozen=True, slots=True)
class Way:
    """Frames of 3 bytes a pixel over `hops`: 1, or 3 with two stages between. `rate` 0: back to back. `write`: whole frames are written."""

    size: str
    hops: int = 1
    rate: float = 0.0
    write: bool = False

    @property
    def seconds(self) -> float:
        return SECONDS[self.size]

    @property
    def width(self) -> int:
        return SIZES[self.size][0]

    @property
    def height(self) -> int:
        return SIZES[self.size][1]

    @property
    def nbytes(self) -> int:
        return self.width * self.height * 3

    def __str__(self) -> str:
        rate = f"{self.rate:g} Hz" if self.rate else "back to back"
        return f"{self.size}, {self.hops} hop{'s' * (self.hops > 1)}, w={int(self.write)}, {rate}"


def paced(size: str, hops: int = 1, *, write: bool = False) -> Way:
    """Frames at the rate of their size."""
    return Way(size, hops, RATES[size], write)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the recorder found: latency from stamp to touch, frames a second, processor time of all processes a frame, frames missing."""

    p50_us: float
    p99_us: float
    fps: float
    cpu_us: float
    missing: int

    @classmethod
    def read(cls, path: Path) -> Figures:
        return cls(**json.loads(path.read_text()))
