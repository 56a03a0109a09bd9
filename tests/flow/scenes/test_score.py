from __future__ import annotations

import numpy as np
import pytest

from flow.scenes.score import HEIGHT, STRIDES, WIDTH, Tally, decode, grid, letterbox, measure, overlap
from flow.scenes.truth import LABELS, Box, Truth


def row(box: tuple[float, float, float, float], score: float, label: str) -> np.ndarray:
    return np.array([[*box, score, LABELS.index(label)]], np.float32)


def encoded(box: tuple[float, float, float, float], cell: int, label: str, objectness: float) -> np.ndarray:
    """A network's output with one box on one cell."""
    output = np.zeros((len(grid()), 5 + len(LABELS)), np.float32)
    column, line, stride = grid()[cell]
    x, y = (box[0] + box[2]) / 2 / stride - column, (box[1] + box[3]) / 2 / stride - line
    output[cell, :5] = x, y, np.log((box[2] - box[0]) / stride), np.log((box[3] - box[1]) / stride), objectness
    output[cell, 5 + LABELS.index(label)] = 1
    return output


def test_the_grid_counts_cells_by_rows() -> None:
    cells = grid()
    assert len(cells) == sum((WIDTH // s) * (HEIGHT // s) for s in STRIDES)
    assert cells[1].tolist() == [1, 0, 8]
    assert cells[WIDTH // 8].tolist() == [0, 1, 8]
    assert cells[-1].tolist() == [WIDTH // 32 - 1, HEIGHT // 32 - 1, 32]


@pytest.mark.parametrize("cell", [0, 700, 839])
def test_decode_turns_an_output_into_pixels_of_the_frame(cell: int) -> None:
    rows = decode(encoded((40, 30, 80, 70), cell, "dog", 0.9), 0.5, score=0.4)
    np.testing.assert_allclose(rows, row((80, 60, 160, 140), 0.9, "dog"), rtol=1e-4)


def test_of_boxes_on_one_thing_the_best_stays() -> None:
    output = (
        encoded((40, 30, 80, 70), 100, "cat", 0.7) + encoded((42, 30, 82, 70), 101, "cat", 0.9) + encoded((41, 30, 81, 70), 102, "dog", 0.6)
    )
    rows = decode(output, 1.0, score=0.4)
    assert [(LABELS[int(r[5])], round(float(r[4]), 2)) for r in rows] == [("cat", 0.9), ("dog", 0.6)]


def test_letterbox_keeps_the_shape_at_the_top_left() -> None:
    pixels, scale = letterbox(np.full((360, 640, 3), (10, 20, 30), np.uint8))
    assert pixels.shape == (1, 3, HEIGHT, WIDTH)
    assert scale == 0.4
    assert pixels[0, :, 143, 255].tolist() == [10, 20, 30]
    assert pixels[0, :, 144, 0].tolist() == [114, 114, 114]


def test_overlap() -> None:
    assert overlap(np.array([0, 0, 10, 10.0]), np.array([5, 0, 15, 10.0])) == pytest.approx(1 / 3)
    assert overlap(np.array([0, 0, 10, 10.0]), np.array([20, 0, 30, 10.0])) == 0


@pytest.mark.parametrize(
    ("found", "hits", "misses", "false"),
    [
        ([], 0, 1, 0),
        ([row((0, 0, 10, 10), 0.9, "cat")], 1, 0, 0),
        ([row((0, 0, 10, 10), 0.9, "cat"), row((0, 0, 10, 9), 0.5, "cat")], 1, 0, 1),
        ([row((0, 0, 10, 10), 0.9, "dog")], 0, 1, 1),
        ([row((0, 0, 4, 10), 0.9, "cat")], 0, 1, 1),
        ([row((50, 50, 60, 60), 0.9, "fist")], 0, 1, 0),
    ],
)
def test_what_counts(found: list[np.ndarray], hits: int, misses: int, false: int) -> None:
    truth = Truth((Box("cat", (0, 0, 10, 10)), Box("fist", (50, 50, 60, 60), difficult=True)))
    tally = Tally()
    tally.add(np.concatenate([np.empty((0, 6), np.float32), *found]), truth)
    assert (tally.hits.sum(), tally.misses.sum(), tally.false.sum()) == (hits, misses, false)


def test_measure_over_frames() -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frames = [(frame, Truth((Box("dog", (40, 30, 80, 70)),))), (frame, Truth((Box("dog", (100, 30, 140, 70)),)))]
    tally = measure(lambda _: encoded((40, 30, 80, 70), 100, "dog", 0.9)[None], frames)
    at = LABELS.index("dog")
    assert tally.recall[at] == tally.precision[at] == 0.5
    assert np.isnan(tally.recall[0])
    assert "dog" in str(tally)
