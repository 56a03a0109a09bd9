from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.spec import ImageSpec, RecordsSpec
from ops.contract import SpecError
from ops.pen.tip import Tip
from ops.testing import run
from ops.value import Image, rotation_transform

PAPER = 215


def paper(width: int = 640, height: int = 360) -> np.ndarray:
    return np.random.default_rng(0).normal(PAPER, 4, (height, width)).clip(0, 255).astype(np.uint8)


def pen(pixels: np.ndarray, tip: tuple[float, float], degrees: float, length: float, *, half: float = 9) -> None:
    """A dark pen whose tip is at `tip`, its body going off in direction `degrees` (clockwise from right, as y goes down)."""
    along = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    across = np.array([-along[1], along[0]])
    start = np.array(tip)
    outline = [start, start + 30 * along + half * across, start + length * along + half * across]
    outline += [start + length * along - half * across, start + 30 * along - half * across]
    cv2.fillPoly(pixels, [np.round((np.array(outline) - 0.5) * 16).astype(np.int32)], 40, cv2.LINE_AA, 4)


def find(pixels: np.ndarray, **config: Any) -> np.ndarray:
    return run(Tip(Tip.Config(**config)), image=Image.from_array(pixels, "gray8"))  # type: ignore[no-any-return]


@settings(deadline=None, max_examples=40)
@given(x=st.floats(200, 440), y=st.floats(120, 240), degrees=st.floats(0, 360), threshold=st.sampled_from(("auto", 95.0)))
def test_a_pen_that_enters_over_an_edge(x: float, y: float, degrees: float, threshold: Any) -> None:
    pixels = paper()
    pen(pixels, (x, y), degrees, 900)
    (found,) = find(pixels, threshold=threshold)
    assert math.dist(found["point"], (x, y)) < 4
    assert found["score"] == pytest.approx((PAPER - 40) / 255, abs=0.03)


@pytest.mark.parametrize("degrees", [0, 30, 90, 200, 310])
def test_a_pen_that_lies_free_has_its_tip_at_the_narrow_end(degrees: float) -> None:
    pixels = paper()
    pen(pixels, (320, 180), degrees, 140)
    (found,) = find(pixels, tip="pointed")
    assert math.dist(found["point"], (320, 180)) < 4


@pytest.mark.parametrize(("tip", "degrees"), [("left", 10), ("right", 170), ("top", 80), ("bottom", 280)])
def test_a_side_can_be_named(tip: str, degrees: float) -> None:
    pixels = paper()
    pen(pixels, (300, 150), degrees, 100)
    (found,) = find(pixels, tip=tip, threshold=95)
    assert math.dist(found["point"], (300, 150)) < 4


def test_large_pictures_are_found_in_their_own_pixels() -> None:
    pixels = paper(1920, 1080)
    pen(pixels, (900, 500), 20, 3000, half=27)
    (found,) = find(pixels)
    assert math.dist(found["point"], (900, 500)) < 10


def test_a_turned_camera_counts_upright() -> None:
    pixels = paper()
    pen(pixels, (300, 150), 80, 100)  # its top, stored; turned clockwise by 90 degrees that is right
    spec = ImageSpec(640, 360, "gray8", rotation=90)
    (found,) = run(Tip(Tip.Config(tip="right", threshold=95)), image=Image(spec, (pixels,), rotation_transform(spec)))
    assert math.dist(found["point"], (360 - 150, 300)) < 4


def test_specks_and_shade_are_no_pen() -> None:
    assert len(find(paper())) == 0
    speck = paper()
    cv2.circle(speck, (300, 200), 4, 20, -1)
    assert len(find(speck, threshold=95)) == 0
    shade = np.full((360, 640), PAPER, np.uint8)
    shade[100:200, 100:200] = PAPER - 20
    assert len(find(shade)) == 0
    assert len(find(shade, contrast=0.05)) == 1


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_has_no_pen(level: int) -> None:
    assert len(find(np.full((48, 64), level, np.uint8))) == 0


def test_specs() -> None:
    assert Tip().infer({"image": ImageSpec(64, 48, "gray8")}) == {"points": RecordsSpec("points", 1, ("tip",))}
    with pytest.raises(SpecError, match="port image"):
        Tip().infer({"image": RecordsSpec("points", 1)})
