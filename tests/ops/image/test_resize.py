import cv2
import numpy as np
import pytest

from devices.spec import ImageSpec
from ops.image.resize import Resize
from ops.testing import run
from ops.value import apply


@pytest.mark.parametrize("size", [(320, 240), (31, 77), (1000, 400)])
def test_stretches_like_opencv(ramp, size):
    image = ramp(640, 360, "bgr24")
    operator = Resize(Resize.Config(width=size[0], height=size[1]))
    got = run(operator, image=image)
    assert got.spec == operator.infer({"image": image.spec})["image"] == ImageSpec(*size, "bgr24")
    assert np.array_equal(got.planes[0], cv2.resize(image.planes[0], size))
    assert np.allclose(apply(got.transform, np.array(size, float)), [640, 360])


def test_normalises_for_the_model(ramp):
    image = ramp(64, 48)
    tensor = {"name": "input", "mean": (127, 127, 127), "std": (128, 128, 128)}
    got = run(Resize(Resize.Config(width=32, height=24, tensor=tensor)), image=image).arrays["input"]
    shown = run(Resize(Resize.Config(width=32, height=24, output="rgb24")), image=image).planes[0]
    assert np.array_equal(got[0].transpose(1, 2, 0), (shown.astype(np.float32) - 127) / 128)


def test_rotated_pictures_come_upright(ramp):
    got = run(Resize(Resize.Config(width=36, height=64, output="rgb24")), image=ramp(64, 36, rotation=90))
    assert np.array_equal(got.planes[0], np.rot90(ramp(64, 36).planes[0], -1))
