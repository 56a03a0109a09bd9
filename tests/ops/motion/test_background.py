from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from devices.spec import ImageSpec, RecordsSpec
from ops.contract import SpecError
from ops.motion.background import Background
from ops.testing import HeapContext, frame
from ops.value import Image, rotation_transform


def opened(rotation: Any = 0, **config: Any) -> Background:
    operator = Background(Background.Config(**config))
    operator.infer({"image": ImageSpec(320, 240, "gray8", rotation=rotation)})
    operator.open(HeapContext())
    return operator


def scene(seq: int, *, moving: bool) -> np.ndarray:
    """A textured wall with a little noise, and a bright block that goes across."""
    columns, rows = np.meshgrid(np.arange(320), np.arange(240))
    wall = 90 + 20 * np.sin(columns / 9) + 20 * np.cos(rows / 7) + np.random.default_rng(seq).normal(0, 2, (240, 320))
    if moving:
        wall[100:140, 4 * seq : 4 * seq + 40] = 230
    return wall.clip(0, 255).astype(np.uint8)


def play(operator: Background, first: int, last: int, *, moving: bool) -> Any:
    for seq in range(first, last):
        out = operator.run(frame(seq), image=Image.from_array(scene(seq, moving=moving), "gray8"))
    return out


@pytest.mark.parametrize("method", ["mog2", "knn"])
@pytest.mark.parametrize("width", [320, 160])
def test_a_moving_block_is_found_and_a_still_scene_is_not(method: str, width: int) -> None:
    operator = opened(method=method, width=width)
    for seq in range(25):
        assert len(play(operator, seq, seq + 1, moving=False)["detections"]) == 0
    for seq in range(25, 50):
        (found,) = play(operator, seq, seq + 1, moving=True)["detections"]
        assert found["box"][1::2] == pytest.approx([100, 140], abs=6)
        assert found["box"][2] == pytest.approx(4 * seq + 40, abs=6)
        assert 0.5 < found["score"] <= 1
        assert (found["class_id"], found["track"]) == (0, -1)


def test_the_first_frames_only_teach() -> None:
    assert all(len(play(opened(warmup=20), 0, last, moving=True)["detections"]) == 0 for last in (1, 5, 20))


def test_small_blobs_are_left_out() -> None:
    operator = opened(min_area=0.05)
    play(operator, 0, 25, moving=False)
    assert len(play(operator, 25, 26, moving=True)["detections"]) == 0


def test_colour_is_looked_at_too() -> None:
    operator = Background()
    operator.infer({"image": ImageSpec(320, 240, "bgr24")})
    operator.open(HeapContext())
    for seq in range(30):
        pixels = np.repeat(scene(seq, moving=seq >= 25)[..., None], 3, axis=2)
        out = operator.run(frame(seq), image=Image.from_array(pixels))
    assert len(out["detections"]) == 1


def test_boxes_of_a_turned_camera_are_upright() -> None:
    spec = ImageSpec(320, 240, "gray8", rotation=90)
    operator = opened(rotation=90)
    for seq in range(30):
        image = Image(spec, (scene(seq, moving=seq >= 25),), rotation_transform(spec))
        out = operator.run(frame(seq), image=image)
    (found,) = out["detections"]
    assert found["box"][::2] == pytest.approx([240 - 140, 240 - 100], abs=6)


def test_the_mask_is_given_only_when_asked_for() -> None:
    spec = {"image": ImageSpec(320, 240, "gray8")}
    assert set(Background().infer(spec)) == {"detections"}
    operator = opened(mask=True, width=160)
    assert operator.infer(spec) == {
        "detections": RecordsSpec("detections", 64, ("motion",)),
        "mask": ImageSpec(160, 120, "gray8"),
    }
    play(operator, 0, 25, moving=False)
    mask = play(operator, 25, 26, moving=True)["mask"]
    assert mask.transform.tolist() == [[2, 0, 0], [0, 2, 0]]
    assert (mask.planes[0][55:65, 55:65] == 255).all()
    assert mask.planes[0].mean() < 25


def test_the_background_cannot_be_handed_over() -> None:
    assert opened().save() is None


def test_only_pictures_are_looked_at() -> None:
    with pytest.raises(SpecError, match="port image: expected an image"):
        Background().infer({"image": RecordsSpec("points", 1)})
