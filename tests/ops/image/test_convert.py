import cv2
import numpy as np
import pytest

from devices.spec import PIXEL_FORMATS, ImageSpec
from ops.image.convert import Convert
from ops.testing import run


@pytest.mark.parametrize("source", PIXEL_FORMATS)
@pytest.mark.parametrize("target", PIXEL_FORMATS)
def test_every_format_to_every_format(ramp, source, target):
    image = ramp(136, 88, source)
    operator = Convert(Convert.Config(format=target))
    got = run(operator, image=image)
    assert got.spec == operator.infer({"image": image.spec})["image"]
    assert got.spec.format == target
    shown = run(Convert(Convert.Config(format="rgb24")), image=got).planes[0].astype(int)
    wanted = run(Convert(Convert.Config(format="rgb24")), image=image).planes[0].astype(int)
    if target == "gray8":
        wanted = np.repeat((wanted @ [0.299, 0.587, 0.114])[..., None], 3, axis=2)
    assert np.abs(shown - wanted).mean() <= 2


def test_a_picture_that_is_already_so_is_passed_on(ramp):
    image = ramp(20, 10, "bgr24")
    assert run(Convert(Convert.Config(format="bgr24")), image=image) is image


def test_rotated_pictures_come_upright(ramp):
    image = ramp(20, 10, "rgb24", rotation=90)
    got = run(Convert(Convert.Config(format="rgb24")), image=image)
    assert got.spec == ImageSpec(10, 20, "rgb24")
    assert np.array_equal(got.planes[0], np.rot90(image.planes[0], -1))
    assert np.allclose(got.transform, np.eye(2, 3))


def test_range_and_matrix_of_the_source_matter():
    spec = {"width": 2, "height": 2, "format": "yuv444p"}
    planes = (np.full((2, 2), 180, np.uint8), np.full((2, 2), 90, np.uint8), np.full((2, 2), 160, np.uint8))
    from ops.value import Image

    colours = {}
    for full_range in (False, True):
        for matrix in ("bt601", "bt709", "bt2020"):
            image = Image(ImageSpec(**spec, full_range=full_range, matrix=matrix), planes)
            colours[full_range, matrix] = tuple(run(Convert(Convert.Config(format="rgb24")), image=image).planes[0][0, 0])
    assert len(set(colours.values())) == 6
    yuv = np.array([[[180, 160, 90]]], np.uint8)  # OpenCV's order is Y, Cr, Cb, and its range is full
    assert np.abs(np.array(colours[True, "bt601"], int) - cv2.cvtColor(yuv, cv2.COLOR_YCrCb2RGB)[0, 0]).max() <= 1


def test_target_range_can_be_chosen(ramp):
    image = ramp(16, 16, "rgb24")
    full = run(Convert(Convert.Config(format="yuv444p", full_range=True, matrix="bt709")), image=image)
    assert full.spec == ImageSpec(16, 16, "yuv444p", True, "bt709")
    back = run(Convert(Convert.Config(format="rgb24")), image=full)
    assert np.abs(back.planes[0].astype(int) - image.planes[0]).max() <= 2
