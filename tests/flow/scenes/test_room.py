from __future__ import annotations

import numpy as np

from flow.scenes.desk import desk
from flow.scenes.room import living_room


def test_a_room_is_decided_by_its_generator() -> None:
    one, same, other = (living_room(160, 90, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (90, 160, 3)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one.astype(int) - other).mean() > 4


def test_a_room_has_no_holes() -> None:
    for seed in range(6):
        room = living_room(200, 150, np.random.default_rng(seed))
        assert (room.max(axis=2) > 8).mean() > 0.99


def test_paper_is_where_the_matrix_says() -> None:
    for seed in range(6):
        picture, paper = desk(320, 180, np.random.default_rng(seed))
        shares = np.random.default_rng(0).uniform(0.05, 0.95, (50, 2))
        inside = np.floor(shares @ paper[:, :2].T + paper[:, 2]).astype(int)
        outside = np.floor(np.array([[-0.06, 0.5], [1.06, 0.5]]) @ paper[:, :2].T + paper[:, 2]).astype(int)
        assert picture[inside[:, 1], inside[:, 0]].min(axis=1).min() > 130
        assert picture[outside[:, 1], outside[:, 0]].min(axis=1).max() < 200
