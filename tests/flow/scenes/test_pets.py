from __future__ import annotations

import numpy as np
import pytest

from flow.scenes.pets import PETS, STEPS, WAGS, Pet, Species, pet_sprite


def pet(species: Species, seed: int = 1) -> Pet:
    return Pet.draw_from(np.random.default_rng(seed), species, 40)


@pytest.mark.parametrize("species", PETS)
def test_every_step_stands_on_the_ground(species: Species) -> None:
    for gait, count in (("walk", STEPS), ("stand", WAGS)):
        for step in range(count):
            sprite = pet_sprite(pet(species), gait, step)  # type: ignore[arg-type]
            lowest = np.flatnonzero((sprite.pixels[:, :, 3] > 127).any(axis=1)).max() + 1
            assert lowest == pytest.approx(sprite.origin[1], abs=3)


@pytest.mark.parametrize("species", PETS)
def test_nothing_is_cut_off_at_the_edge_of_a_sprite(species: Species) -> None:
    for seed in range(6):
        for step in range(0, STEPS, 3):
            alpha = pet_sprite(pet(species, seed), "walk", step).pixels[:, :, 3]
            assert max(alpha[0].max(), alpha[:, 0].max(), alpha[:, -1].max()) == 0


@pytest.mark.parametrize("species", PETS)
def test_legs_move_while_walking_and_the_tail_while_standing(species: Species) -> None:
    for gait in ("walk", "stand"):
        first, second = (pet_sprite(pet(species), gait, step).pixels.astype(int) for step in (1, 4))  # type: ignore[arg-type]
        moved = np.flatnonzero((np.abs(first - second) > 40).any(axis=2).any(axis=1))
        assert len(moved)
        legs = moved.max() > first.shape[0] * 0.75
        assert legs == (gait == "walk")


def test_a_cat_is_no_dog() -> None:
    cat, dog = (pet_sprite(pet(species), "stand", 0).pixels[:, :, 3] > 127 for species in PETS)
    assert (cat & dog).sum() / (cat | dog).sum() < 0.8
