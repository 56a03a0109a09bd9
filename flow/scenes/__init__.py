"""Rendered scenes with known ground truth: what the synthetic camera films, and what the example detector is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flow.scenes.scene import Scene

SCENES: dict[str, str] = {
    "home": "a living room with a cat, a dog and somebody making gestures",
    "hand": "a hand making gestures",
    "pets": "a cat and a dog in a living room",
    "pen": "a pen writing on a sheet of paper",
}
"""Scenes by name, and what is seen in them."""

SMALLEST, LARGEST = 32, 4096
"""Sides of a picture, in pixels."""


def open_scene(name: str, *, seed: int = 0, width: int = 640, height: int = 360, fps: float = 30.0) -> Scene:
    """The scene `name` (a key of SCENES) for pictures of `width` x `height` pixels, `fps` a second; the seed decides everything in it.

    Raises KeyError for an unknown name, ValueError for a size outside SMALLEST..LARGEST or a rate that is not above 0.
    """
    if name not in SCENES:
        raise KeyError(name)
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise ValueError(f"expected sides of {SMALLEST} to {LARGEST} pixels, got {width}x{height}")
    if not 0 < fps < float("inf"):
        raise ValueError(f"expected a frame rate above 0, got {fps}")
    if name == "pen":
        from flow.scenes.pen import PenScene

        return PenScene(seed=seed, width=width, height=height, fps=fps)
    from flow.scenes.home import HomeScene

    return HomeScene(seed=seed, width=width, height=height, fps=fps, hand=name != "pets", pets=name != "hand")
