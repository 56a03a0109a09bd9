from __future__ import annotations

import numpy as np

from flow.scenes.films import FRAMES, HELD_OUT_SEEDS, IGNORE, MOST, NOTHING, TRAINING_SEEDS, film, held_out
from flow.scenes.score import HEIGHT, WIDTH
from flow.scenes.truth import LABELS


def test_a_film_to_train_on() -> None:
    pictures, boxes = film(TRAINING_SEEDS + 1)
    assert pictures.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert boxes.shape == (FRAMES, MOST, 5)
    assert set(np.unique(boxes[:, :, 4])) <= {NOTHING, IGNORE, *range(len(LABELS))}
    real = boxes[boxes[:, :, 4] != NOTHING]
    assert len(real)
    assert (real[:, :2] < real[:, 2:4]).all()
    assert (real[:, :4] >= 0).all()
    assert (real[:, 2:4] <= (WIDTH, HEIGHT)).all()
    np.testing.assert_array_equal(film(TRAINING_SEEDS + 1)[0], pictures)


def test_held_out_films_are_others() -> None:
    frames = list(held_out(1, frames=2))
    assert [frame.shape for frame, _ in frames] == [(360, 640, 3)] * 2
    assert HELD_OUT_SEEDS - TRAINING_SEEDS > 100_000
