"""A desk seen from above, with a sheet of paper on it."""

from __future__ import annotations

import numpy as np

from flow.scenes.clay import Colour, mix
from flow.scenes.easel import BLACK, WHITE, Easel, pick, rounded

WOODS: tuple[Colour, ...] = ((150, 104, 66), (108, 74, 50), (188, 146, 100))


def desk(width: int, height: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The desk, uint8 (height, width, 3) BGR, and the affine (2, 3) from the paper's unit square to pixels."""
    easel = Easel.blank(width, height)
    wood, aspect = mix(pick(WOODS, rng), WHITE, 0.3), easel.aspect
    easel.fill(rounded(-0.1, -0.1, aspect + 0.2, 1.2, 0), mix(wood, WHITE, 0.1), mix(wood, BLACK, 0.14))
    for _ in range(60):
        y, thin = rng.uniform(0, 1), rng.uniform(0.001, 0.004)
        wave = np.linspace(-0.1, aspect + 0.1, 24)
        line = y + 0.012 * np.sin(wave * rng.uniform(1, 3) + rng.uniform(0, 6))
        strip = np.concatenate([np.stack([wave, line], 1), np.stack([wave[::-1], line[::-1] + thin], 1)])
        easel.fill(strip, mix(wood, BLACK, 0.4), alpha=float(rng.uniform(0.1, 0.35)))
    angle, middle = rng.uniform(-0.05, 0.05), np.array([aspect / 2, 0.5]) + rng.uniform(-0.02, 0.02, 2)
    size = np.array([min(aspect * 0.7, 1.25), 0.86])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) - 0.5) * size @ turn.T + middle
    easel.fill(corners + np.array([0.012, 0.02]), (60, 40, 30), soft=0.02, alpha=0.4)
    paper = mix((252, 250, 244), (246, 238, 220), float(rng.uniform(0, 1)))
    easel.fill(corners, paper, mix(paper, BLACK, 0.04))
    if rng.random() < 0.5:
        for row in np.linspace(0.12, 0.92, 12):
            ends = (np.array([[0.03, row], [0.97, row], [0.97, row + 0.003], [0.03, row + 0.003]]) - 0.5) * size @ turn.T + middle
            easel.fill(ends, (170, 196, 222), alpha=0.55)
    linear = turn @ np.diag(size) * height
    matrix = np.column_stack([linear, (middle - turn @ np.diag(size) @ (0.5, 0.5)) * height])
    return easel.develop(rng), matrix
