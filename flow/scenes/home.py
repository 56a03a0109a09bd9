"""A living room where a hand makes gestures and a cat and a dog walk about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from flow.scenes.camera import Camera
from flow.scenes.hand import GESTURES, Hand, hand_sprite, sleeve_sprite, wrist_of
from flow.scenes.pets import PETS, STEPS, STRIDE, WAGS, Pet, Species, pet_sprite
from flow.scenes.room import living_room
from flow.scenes.scene import rng_of
from flow.scenes.sprite import Placement, shadow
from flow.scenes.truth import Box, Truth

HOLD = 1.7
"""Seconds from one gesture to the next."""
CHANGE = 0.2
"""Seconds of them that the hand needs to change."""
LEG = 6.5
"""Seconds an animal takes to walk to its next place and look around there."""
WALKING = 0.72
"""Share of them that it walks."""
TURN = 0.3
"""Seconds for turning round."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something in one frame: what is painted, back to front; `body` is what the truth is about."""

    label: str
    body: Placement
    parts: tuple[Placement, ...]
    settled: bool


class HandActor:
    """A hand that reaches into the picture from below, wanders, and changes its gesture."""

    def __init__(self, *, seed: int, width: int, height: int, size: float) -> None:
        rng = rng_of(seed, 10)
        self.width, self.height, self.scale = width, height, size * height * float(rng.uniform(0.88, 1.14))
        self.hand = Hand.draw_from(rng, self.scale * 1.1)
        self.order = [GESTURES[i] for i in rng.permutation(len(GESTURES))]
        self.mirror = float(rng.choice([-1, 1]))
        self.home = float(rng.uniform(0.2, 0.8))
        self.phases = rng.uniform(0, 2 * math.pi, 5)
        self.speeds = rng.uniform(0.35, 0.9, 5)

    def act(self, seconds: float) -> Act:
        """The hand at a time."""
        turn, since = divmod(seconds, HOLD)
        now, then = (self.order[int(turn + i) % len(self.order)] for i in (0, 1))
        share = round(max(since - (HOLD - CHANGE), 0) / CHANGE * 4) / 4
        if share == 1:
            now, share = then, 0.0
        towards = then if share else ""
        sway = np.sin(self.phases + self.speeds * seconds)
        x = self.width * float(self.home + 0.14 * sway[0] + 0.03 * sway[3])
        reach = 1.6 * self.scale
        y = float(np.clip(self.height * (0.48 + 0.13 * sway[1]), reach * 0.9, self.height - 0.85 * self.scale))
        angle = float(13 * sway[2])
        body = Placement(hand_sprite(self.hand, now, towards, share), x, y, self.scale, angle, self.mirror)
        at = body.transform @ (*(np.array(wrist_of(now, towards, share)) * body.sprite.density + body.sprite.origin), 1)
        sleeve = Placement(sleeve_sprite(self.hand), float(at[0]), float(at[1]), self.scale, angle * 0.9, self.mirror)
        return Act(then if share > 0.5 else now, body, (body, sleeve), not share)


class PetActor:
    """An animal that walks from place to place on the floor and stands there for a while, wagging its tail."""

    def __init__(self, *, seed: int, species: Species, width: int, height: int) -> None:
        rng = rng_of(seed, 20 + PETS.index(species))
        self.seed, self.species, self.width, self.height = seed, species, width, height
        self.size = (0.22 if species == "cat" else 0.255) * height * float(rng.uniform(0.88, 1.12))
        self.pet = Pet.draw_from(rng, species, self.size * 1.1)
        self.shadow = shadow(1.5, 0.24, self.size)
        self.late = float(rng.uniform(0, LEG))
        self.side = int(rng.integers(2))

    def act(self, seconds: float) -> Act:
        """The animal at a time."""
        leg, since = divmod(seconds + self.late, LEG)
        before, start, end = (self._place(int(leg) + i) for i in (-1, 0, 1))
        share = min(max(since - TURN, 0) / (LEG * WALKING - TURN), 1)
        share = share * share * (3 - 2 * share)
        x, depth = start + (end - start) * share
        scale = self.size * (0.72 + 0.5 * depth)
        was, looks = (1.0 if b[0] > a[0] else -1.0 for a, b in pairwise((before, start, end)))
        stretch = looks if was == looks or since > TURN else was + (looks - was) * since / TURN
        gait: Literal["walk", "stand"] = "walk" if 0 < share < 1 else "stand"
        if gait == "walk":
            step = int(abs(x - start[0]) * self.width / scale / STRIDE[self.species] * STEPS) % STEPS
        else:
            step = int(seconds * 2.2 * WAGS) % WAGS
        foot = self.height * (0.69 + 0.26 * float(depth))
        wide = math.copysign(max(abs(stretch), 0.12), stretch)
        body = Placement(pet_sprite(self.pet, gait, step), float(x) * self.width, foot, scale, 0.0, wide)
        ground = Placement(self.shadow, body.x, foot - 0.04 * scale, scale, 0.0, wide)
        return Act(self.species, body, (ground, body), abs(stretch) > 0.6)

    def _place(self, leg: int) -> np.ndarray:
        """Where a walk begins: (share of the width, nearness 0..1). Sides alternate, so every walk goes somewhere."""
        rng = rng_of(self.seed, 30 + PETS.index(self.species), leg + 1)
        near = rng.uniform(0, 0.24)
        return np.array([0.12 + near if (leg + self.side) % 2 else 0.88 - near, rng.uniform(0, 1)])


class HomeScene:
    """The room, with a hand, pets, or both; the hand is nearest to the camera."""

    def __init__(self, *, seed: int, width: int, height: int, fps: float, hand: bool = True, pets: bool = True) -> None:
        self.width, self.height, self.fps = width, height, fps
        self.camera = Camera(seed=seed, width=width, height=height)
        self.room = living_room(width, height, rng_of(seed, 3))
        self.pets = [PetActor(seed=seed, species=s, width=width, height=height) for s in PETS] if pets else []
        self.hand = HandActor(seed=seed, width=width, height=height, size=0.15 if pets else 0.21) if hand else None

    def acts(self, index: int) -> list[Act]:
        """What is in the frame, farthest first."""
        seconds = index / self.fps
        acts = sorted((pet.act(seconds) for pet in self.pets), key=lambda act: act.body.y)
        return [*acts, self.hand.act(seconds)] if self.hand else acts

    def frame(self, index: int) -> np.ndarray:
        """The picture, uint8 (height, width, 3) BGR."""
        canvas = self.room.copy()
        for act in self.acts(index):
            for part in act.parts:
                part.paint(canvas)
        return self.camera.film(canvas, index, index / self.fps)

    def truth(self, index: int) -> Truth:
        """What is seen in it."""
        acts = self.acts(index)
        boxes = (self._box(act, acts[i + 1 :]) for i, act in enumerate(acts))
        return Truth(tuple(box for box in boxes if box is not None))

    def _box(self, act: Act, nearer: Sequence[Act]) -> Box | None:
        whole = act.body.box
        frame = (0.0, 0.0, float(self.width), float(self.height))
        seen = _overlap(whole, frame)
        if seen is None:
            return None
        hidden = max((_area(_overlap(seen, part.box)) for other in nearer for part in other.parts), default=0.0)
        visible = (_area(seen) - hidden) / _area(whole)
        return Box(act.label, seen, not act.settled or visible < 0.6)


Rectangle = tuple[float, float, float, float]


def _overlap(a: Rectangle, b: Rectangle) -> Rectangle | None:
    x1, y1, x2, y2 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _area(box: Rectangle | None) -> float:
    return (box[2] - box[0]) * (box[3] - box[1]) if box else 0.0
