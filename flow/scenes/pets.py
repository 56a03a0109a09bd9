"""A modelled cat and a modelled dog, seen from the side, walking to the right or standing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from flow.scenes.clay import Clay, Colour, mix
from flow.scenes.sprite import Sprite

Species = Literal["cat", "dog"]
PETS: tuple[Species, ...] = ("cat", "dog")

STEPS = 12
"""Pictures in one walking cycle."""
WAGS = 6
"""Pictures in one wag of the tail of a standing animal."""
STRIDE = {"cat": 0.62, "dog": 0.8}
"""Units walked in one cycle."""

WHITE: Colour = (246, 242, 236)
DARK: Colour = (38, 34, 36)

CAT_COATS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((226, 146, 70), (178, 98, 38), (250, 228, 200)),
    ((142, 138, 136), (86, 84, 86), (226, 224, 222)),
    ((52, 50, 56), (40, 38, 44), (70, 68, 74)),
    ((236, 226, 212), (206, 186, 160), WHITE),
    ((158, 122, 86), (92, 68, 48), (230, 210, 186)),
)
"""Coat, stripes, chest and muzzle."""
DOG_COATS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((204, 150, 82), (168, 112, 54), (238, 210, 160)),
    ((112, 72, 48), (78, 48, 32), (164, 118, 84)),
    ((238, 232, 222), (112, 76, 52), WHITE),
    ((58, 54, 56), (40, 38, 40), (176, 118, 66)),
    ((170, 166, 168), (104, 100, 106), (222, 220, 218)),
)
"""Coat, ears and patches, chest and muzzle."""
COLLARS: tuple[Colour, ...] = ((206, 54, 52), (44, 120, 196), (64, 158, 92), (236, 176, 48))


@dataclass(frozen=True, slots=True)
class Pet:
    """One animal: its coat, its build, and pixels a unit of its sprites."""

    species: Species
    coat: tuple[Colour, Colour, Colour]
    collar: Colour
    stout: float
    patched: bool
    density: float

    @classmethod
    def draw_from(cls, rng: np.random.Generator, species: Species, density: float) -> Pet:
        """A random animal of this species."""
        coats = CAT_COATS if species == "cat" else DOG_COATS
        coat = coats[rng.integers(len(coats))]
        shade = float(rng.uniform(-0.1, 0.12))
        toned = tuple(mix(c, (255, 250, 240) if shade > 0 else (20, 16, 20), abs(shade)) for c in coat)
        collar = COLLARS[rng.integers(len(COLLARS))]
        return cls(species, (toned[0], toned[1], toned[2]), collar, float(rng.uniform(0.92, 1.1)), bool(rng.random() < 0.5), density)


@lru_cache(maxsize=128)
def pet_sprite(pet: Pet, gait: Literal["walk", "stand"], step: int) -> Sprite:
    """Picture `step` of walking (0..STEPS-1) or standing (0..WAGS-1), held on the ground below its middle, looking right."""
    walking = gait == "walk"
    cycle = step / (STEPS if walking else WAGS) * 2 * math.pi
    swing = 1.0 if walking else 0.0
    bob = 0.018 * math.cos(2 * cycle) * swing
    clay = Clay(left=-1.15, top=-1.3, right=1.12, bottom=0.06, density=pet.density)
    (_cat if pet.species == "cat" else _dog)(clay, pet, cycle, swing, bob)
    return clay.finish(folds=0.35, tint=(0.56, 0.52, 0.6))


def _leg(
    clay: Clay, hip: tuple[float, float], length: float, thick: float, colour: Colour, paw: Colour, *, phase: float, swing: float,
    front: bool, depth: float,
) -> None:  # fmt: skip
    """A leg with a knee, a foot on the ground or lifted while it swings forward."""
    x, y = hip
    reach = math.sin(phase) * 0.22 * swing
    lift = max(math.cos(phase), 0) * 0.1 * swing
    foot = (x + reach, -0.05 - lift, depth)
    bend = (-0.06 if front else 0.09) * (1 + lift * 5)
    knee = (x + reach * 0.4 - bend, (y + foot[1]) / 2 + (0.02 if front else 0.05), depth)
    clay.limb((x, y, depth), knee, thick * 1.35, thick, colour, blend=0.03, gloss=0.03)
    clay.limb(knee, foot, thick, thick * 0.8, colour, gloss=0.03)
    clay.ball((foot[0] + 0.035, foot[1] + 0.005, depth + 0.02), (thick * 1.35, thick * 0.85, thick), paw, blend=0.02, gloss=0.03)


def _cat(clay: Clay, pet: Pet, cycle: float, swing: float, bob: float) -> None:
    coat, stripe, light = pet.coat
    far, thick, back = mix(coat, DARK, 0.28), 0.055 * pet.stout, -0.55 + bob
    socks, far_socks = (light, mix(light, DARK, 0.28)) if pet.patched else (coat, far)
    _leg(clay, (-0.4, back + 0.16), 0.4, thick, far, far_socks, phase=cycle + math.pi, swing=swing, front=False, depth=-0.4)
    _leg(clay, (0.36, back + 0.16), 0.4, thick, far, far_socks, phase=cycle + 0.5 * math.pi, swing=swing, front=True, depth=-0.4)
    sway = math.sin(cycle) * 0.08
    tail = [
        (-0.52, back - 0.02, -0.1), (-0.72, back - 0.1, -0.12), (-0.86, back - 0.28 + sway * 0.3, -0.14),
        (-0.87 + sway * 0.5, back - 0.46, -0.15), (-0.78 + sway, back - 0.6, -0.15), (-0.66 + sway * 1.6, back - 0.62, -0.15),
    ]  # fmt: skip
    clay.tube(tail, 0.075, 0.045, coat, blend=0.05, gloss=0.03)
    for i, (x, y, _) in enumerate(tail[1:]):
        clay.spot((x, y), (0.03, 0.09), stripe, angle=(-60, -30, 10, 50, 80)[i], strength=0.75)
    clay.limb((-0.36, back + 0.02, 0), (0.3, back + 0.03, 0), 0.215 * pet.stout, 0.195 * pet.stout, coat, blend=0.06, gloss=0.03)
    clay.ball((-0.4, back + 0.05, 0.03), (0.21, 0.24, 0.2), coat, blend=0.08, gloss=0.03)
    clay.ball((0.36, back + 0.05, 0.02), (0.17, 0.2, 0.18), coat, blend=0.08, gloss=0.03)
    for i in range(6):
        clay.spot((-0.48 + i * 0.145, back - 0.1), (0.026, 0.15), stripe, angle=8 - i * 3, strength=0.8)
    clay.spot((0.0, back + 0.22), (0.42, 0.07), light, strength=0.75, soft=0.5)
    _leg(clay, (-0.42, back + 0.14), 0.4, thick * 1.05, coat, socks, phase=cycle, swing=swing, front=False, depth=0.2)
    _leg(clay, (0.34, back + 0.14), 0.4, thick * 1.05, coat, socks, phase=cycle + 1.5 * math.pi, swing=swing, front=True, depth=0.2)
    hx, hy = 0.58, back - 0.24 - bob * 0.5
    clay.limb((0.36, back - 0.02, 0.05), (hx, hy + 0.08, 0.1), 0.16, 0.13, coat, blend=0.06, gloss=0.03)
    clay.limb((0.4, back - 0.1, 0.26), (0.58, back - 0.015, 0.3), 0.035, 0.035, pet.collar, gloss=0.2)
    for side in (-1, 1):
        ear = hx + side * 0.15
        clay.limb((ear - side * 0.02, hy - 0.1, 0.12), (ear + side * 0.05, hy - 0.31, 0.08), 0.1, 0.012, coat, blend=0.02, gloss=0.02)
        clay.spot((ear + side * 0.018, hy - 0.2), (0.034, 0.085), (236, 160, 156), angle=side * 14, strength=0.9)
    clay.ball((hx, hy, 0.2), (0.235, 0.205, 0.2), coat, blend=0.04, gloss=0.04)
    for side in (-1, 1):
        clay.ball((hx + side * 0.115, hy + 0.07, 0.2), (0.115, 0.1, 0.15), coat, blend=0.06, gloss=0.03)
        clay.spot((hx + side * 0.06, hy - 0.16), (0.014, 0.06), stripe, angle=side * 12, strength=0.9)
    clay.spot((hx, hy - 0.165), (0.014, 0.07), stripe, strength=0.9)
    clay.ball((hx, hy + 0.085, 0.36), (0.095, 0.065, 0.08), light, blend=0.03, gloss=0.05)
    clay.ball((hx, hy + 0.05, 0.45), (0.026, 0.02, 0.02), (226, 128, 128), gloss=0.4)
    for side in (-1, 1):
        _eye(clay, hx + side * 0.098, hy - 0.02, 0.052, (170, 200, 84))
        for k in (-1, 0, 1):
            clay.spot((hx + side * 0.15, hy + 0.085 + k * 0.02), (0.075, 0.005), WHITE, angle=side * k * 12, strength=0.6, soft=0.6)


def _dog(clay: Clay, pet: Pet, cycle: float, swing: float, bob: float) -> None:
    coat, patch, light = pet.coat
    far, thick, back = mix(coat, DARK, 0.28), 0.075 * pet.stout, -0.66 + bob
    _leg(clay, (-0.42, back + 0.2), 0.5, thick, far, far, phase=cycle + math.pi, swing=swing, front=False, depth=-0.45)
    _leg(clay, (0.36, back + 0.2), 0.5, thick, far, far, phase=cycle, swing=swing, front=True, depth=-0.45)
    wag = math.sin(cycle) * (0.1 if swing else 0.16)
    tail = [(-0.54, back - 0.08, -0.1), (-0.7, back - 0.24, -0.1), (-0.78 + wag * 0.5, back - 0.4, -0.1), (-0.76 + wag, back - 0.52, -0.1)]
    clay.tube(tail, 0.09, 0.035, coat, blend=0.05, gloss=0.03)
    clay.limb((-0.4, back - 0.02, 0), (0.3, back + 0.03, 0), 0.2 * pet.stout, 0.27 * pet.stout, coat, blend=0.06, gloss=0.03)
    clay.ball((-0.42, back + 0.05, 0.03), (0.22, 0.26, 0.22), coat, blend=0.08, gloss=0.03)
    clay.ball((0.37, back + 0.07, 0.02), (0.23, 0.28, 0.24), coat, blend=0.08, gloss=0.03)
    if pet.patched:
        clay.spot((-0.12, back - 0.06), (0.25, 0.17), patch, angle=8, strength=0.95)
        clay.spot((-0.55, back + 0.02), (0.12, 0.14), patch, strength=0.95)
    clay.spot((0.1, back + 0.27), (0.42, 0.08), light, strength=0.7, soft=0.5)
    clay.spot((0.52, back + 0.14), (0.12, 0.2), light, strength=0.8, soft=0.5)
    _leg(clay, (-0.44, back + 0.18), 0.5, thick * 1.05, coat, light, phase=cycle, swing=swing, front=False, depth=0.25)
    _leg(clay, (0.35, back + 0.22), 0.5, thick * 1.05, coat, light, phase=cycle + math.pi, swing=swing, front=True, depth=0.25)
    hx, hy = 0.62, back - 0.36 - bob * 0.5
    clay.limb((0.4, back - 0.04, 0.05), (hx - 0.04, hy + 0.08, 0.12), 0.22, 0.16, coat, blend=0.06, gloss=0.03)
    clay.limb((0.36, back - 0.2, 0.3), (0.62, back - 0.08, 0.32), 0.045, 0.045, pet.collar, gloss=0.2)
    clay.ball((0.62, back - 0.02, 0.42), (0.04, 0.045, 0.03), (236, 200, 90), gloss=0.6)
    clay.ball((hx, hy, 0.22), (0.21, 0.19, 0.2), coat, blend=0.05, gloss=0.04)
    clay.limb((hx + 0.08, hy + 0.06, 0.26), (hx + 0.3, hy + 0.09, 0.26), 0.12, 0.085, coat, blend=0.05, gloss=0.04)
    clay.limb((hx + 0.12, hy + 0.12, 0.28), (hx + 0.29, hy + 0.125, 0.3), 0.08, 0.07, light, blend=0.04, gloss=0.04)
    clay.limb((hx + 0.12, hy + 0.165, 0.28), (hx + 0.25, hy + 0.165, 0.26), 0.055, 0.045, light, gloss=0.03)
    clay.spot((hx + 0.22, hy + 0.155), (0.12, 0.008), DARK, angle=-3, strength=0.7)
    clay.ball((hx + 0.365, hy + 0.05, 0.32), (0.05, 0.042, 0.05), DARK, gloss=0.7)
    if pet.patched:
        clay.spot((hx + 0.06, hy - 0.05), (0.1, 0.1), patch, strength=0.9)
    _eye(clay, hx + 0.1, hy - 0.045, 0.042, (96, 58, 34))
    flap = 0.02 * math.sin(2 * cycle) * swing
    clay.limb((hx - 0.08, hy - 0.1, 0.4), (hx - 0.14, hy + 0.16 + flap, 0.42), 0.085, 0.115, patch, gloss=0.03)
    clay.ball((hx - 0.14, hy + 0.2 + flap, 0.42), (0.105, 0.11, 0.06), patch, blend=0.03, gloss=0.03)


def _eye(clay: Clay, x: float, y: float, size: float, iris: Colour) -> None:
    clay.spot((x, y), (size, size * 1.05), iris, soft=0.1)
    clay.spot((x + size * 0.1, y), (size * 0.62, size * 0.85), DARK, soft=0.1)
    clay.spot((x - size * 0.2, y - size * 0.35), (size * 0.28, size * 0.28), (255, 255, 255), soft=0.3)
