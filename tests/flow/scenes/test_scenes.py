from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.scenes import SCENES, open_scene
from flow.scenes.truth import LABELS

NAMES = sorted(SCENES)


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_is_decided_by_seed_and_index(name: str) -> None:
    one, other = open_scene(name, seed=5, width=160, height=90), open_scene(name, seed=5, width=160, height=90)
    walked = [one.frame(k).copy() for k in range(31)]
    np.testing.assert_array_equal(other.frame(30), walked[30])
    np.testing.assert_array_equal(one.frame(7), walked[7])
    assert other.truth(30) == one.truth(30)


@pytest.mark.parametrize("name", NAMES)
def test_something_moves_and_seeds_differ(name: str) -> None:
    scene = open_scene(name, seed=1, width=160, height=90)
    assert scene.truth(0) != scene.truth(45)
    assert np.abs(scene.frame(0).astype(int) - open_scene(name, seed=2, width=160, height=90).frame(0)).mean() > 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 32), (33, 57), (120, 214), (641, 101)])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    width, height = size
    scene = open_scene(name, width=width, height=height)
    frame = scene.frame(40)
    assert (frame.shape, frame.dtype) == ((height, width, 3), np.uint8)
    for box in scene.truth(40).boxes:
        x1, y1, x2, y2 = box.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height


@settings(max_examples=12, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**31), index=st.integers(0, 10**7))
def test_every_frame_of_every_film_can_be_made(name: str, seed: int, index: int) -> None:
    scene = open_scene(name, seed=seed, width=96, height=54)
    assert scene.frame(index).shape == (54, 96, 3)
    truth = scene.truth(index)
    assert {box.label for box in truth.boxes} <= set(LABELS)
    assert (truth.tip is not None) == (name == "pen")


def test_a_frame_does_not_lie_in_the_scene() -> None:
    scene = open_scene("home", width=96, height=54)
    first = scene.frame(0).copy()
    scene.frame(0)[:] = 0
    np.testing.assert_array_equal(scene.frame(0), first)


def test_the_rate_stretches_time() -> None:
    fast, slow = open_scene("hand", seed=3, fps=60), open_scene("hand", seed=3, fps=15)
    assert fast.truth(120) == slow.truth(30)


def test_an_unknown_scene() -> None:
    with pytest.raises(KeyError):
        open_scene("hom")


@pytest.mark.parametrize("asked", [{"width": 31}, {"height": 5000}, {"fps": 0.0}, {"fps": float("nan")}, {"fps": float("inf")}])
def test_what_cannot_be_filmed(asked: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        open_scene("home", **asked)  # type: ignore[arg-type]


def test_naming_the_scenes_loads_no_opencv() -> None:
    code = "import sys, flow.scenes, flow.scenes.truth, flow.sources.synthetic; assert not {'cv2', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
