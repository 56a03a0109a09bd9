"""What a scene is: frames and their truth by index."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from flow.scenes.truth import Truth


class Scene(Protocol):
    """A deterministic film: frame k needs no frame before it."""

    width: int
    height: int
    fps: float

    def frame(self, index: int) -> np.ndarray:
        """The picture, uint8 (height, width, 3) BGR."""
        ...

    def truth(self, index: int) -> Truth:
        """What is seen in it."""
        ...


def rng_of(seed: int, *what: int) -> np.random.Generator:
    """A generator for one thing in one scene, independent of every other."""
    return np.random.default_rng([seed, *what])
