import cv2
import numpy as np
import pytest

from devices.spec import ImageSpec
from ops.image.center_crop import CenterCrop
from ops.testing import run
from ops.value import apply


def test_imagenet_evaluation(ramp):
    """Shorter side to 256, then the middle 224 x 224."""
    image = ramp(640, 480, "bgr24")
    got = run(CenterCrop(CenterCrop.Config(width=224, height=224, resize=256)), image=image)
    scaled = cv2.resize(image.planes[0], (341, 256))
    left = round((341 - 224) / 2)
    assert np.array_equal(got.planes[0], scaled[16:240, left : left + 224])
    assert np.allclose(apply(got.transform, np.array([112.0, 112.0])), [320, 240], atol=1)


def test_covers_without_resize(ramp):
    got = run(CenterCrop(CenterCrop.Config(width=50, height=100, output="rgb24")), image=ramp(200, 100))
    assert np.allclose(apply(got.transform, np.array([[0.0, 0.0], [50.0, 100.0]])), [[75, 0], [125, 100]])


def test_small_resize_never_leaves_the_picture(ramp):
    got = run(CenterCrop(CenterCrop.Config(width=64, height=64, resize=32, output="rgb24")), image=ramp(40, 30))
    assert got.planes[0].shape == (64, 64, 3)


def test_rotated_pictures_are_cropped_upright(ramp):
    got = run(CenterCrop(CenterCrop.Config(width=36, height=36, output="rgb24")), image=ramp(64, 36, rotation=270))
    upright = np.rot90(ramp(64, 36).planes[0], 1)
    assert np.array_equal(got.planes[0], upright[14:50])


@pytest.mark.parametrize("height", [30, 49, 101, 333, 480])
def test_shorter_side_is_exactly_resize(height):
    """480 * (256 / 480) may fall below 256 in floating point."""
    geometry = CenterCrop(CenterCrop.Config(width=24, height=24, resize=49)).geometry(ImageSpec(2 * height, height, "rgb24"))
    assert geometry.matrix[1, 1] == height / 49
