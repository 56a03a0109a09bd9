"""Films for the example detector: frames to train on, and others, never trained on, to measure with."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from flow.scenes import open_scene
from flow.scenes.scene import rng_of
from flow.scenes.score import HEIGHT, PAD, WIDTH
from flow.scenes.truth import LABELS, Truth

TRAINING_SEEDS = 1_000_000
"""First seed of the training films; what anybody would type lies below."""
HELD_OUT_SEEDS = 2_000_000
FRAMES = 16
"""Frames taken from one film to train on."""
LENGTH = 3000
"""Frames of a film that are drawn from."""
MOST = 3
"""Boxes in one frame."""
NOTHING = -1.0
IGNORE = -2.0
SIZES = ((640, 360), (640, 360), (480, 270), (320, 180), (480, 360))
NAMES = ("home", "home", "home", "hand", "pets")


def film(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random frames of the film of this seed: uint8 (FRAMES, HEIGHT, WIDTH, 3) BGR and float32 (FRAMES, MOST, 5).

    A row is x1, y1, x2, y2 in input pixels and class id; NOTHING: no box; IGNORE: a difficult one.
    """
    cv2.setNumThreads(1)
    rng = rng_of(seed, 99)
    width, height = SIZES[rng.integers(len(SIZES))]
    scene = open_scene(NAMES[rng.integers(len(NAMES))], seed=seed, width=width, height=height)
    fit = min(WIDTH / width, HEIGHT / height)
    pictures = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    boxes = np.empty((FRAMES, MOST, 5), np.float32)
    for i in range(FRAMES):
        index = int(rng.integers(LENGTH))
        zoom, shift = (fit, np.zeros(2)) if rng.random() < 0.4 else _framing(rng, fit, width, height)
        matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
        pictures[i] = cv2.warpAffine(
            scene.frame(index), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(PAD, PAD, PAD)
        )
        boxes[i] = _rows(scene.truth(index), zoom, shift)
    return pictures, boxes


def held_out(films: int, *, frames: int = 20) -> Iterator[tuple[np.ndarray, Truth]]:
    """Frames of 640x360, and their truth, of films that were never trained on."""
    for seed in range(HELD_OUT_SEEDS, HELD_OUT_SEEDS + films):
        scene = open_scene(("home", "hand", "pets")[seed % 3], seed=seed)
        for index in rng_of(seed, 98).integers(0, LENGTH, frames):
            yield scene.frame(int(index)), scene.truth(int(index))


def _framing(rng: np.random.Generator, fit: float, width: int, height: int) -> tuple[float, np.ndarray]:
    """A random zoom, and a shift that leaves no more empty than it must, or cuts off no more than it must."""
    zoom = fit * float(np.exp(rng.uniform(-0.4, 0.4)))
    spare = np.array([WIDTH - width * zoom, HEIGHT - height * zoom])
    return zoom, spare * rng.uniform(0, 1, 2)


def _rows(truth: Truth, zoom: float, shift: np.ndarray) -> np.ndarray:
    rows = np.full((MOST, 5), NOTHING, np.float32)
    for row, box in zip(rows, truth.boxes, strict=False):
        whole = np.array(box.box).reshape(2, 2) * zoom + shift
        seen = np.clip(whole, 0, (WIDTH, HEIGHT))
        share = np.prod(seen[1] - seen[0]) / np.prod(whole[1] - whole[0])
        if share > 0.02:
            row[:4] = seen.ravel()
            row[4] = IGNORE if box.difficult or share < 0.6 else LABELS.index(box.label)
    return rows
