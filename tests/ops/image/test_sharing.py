"""A model's input straight from the stored picture equals one from a picture that was converted first: a plan may share either."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.spec import PIXEL_FORMATS, ImageSpec
from ops.image.center_crop import CenterCrop
from ops.image.convert import Convert
from ops.image.letterbox import Letterbox
from ops.image.resize import Resize
from ops.testing import run

specs = st.builds(
    ImageSpec,
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    format=st.sampled_from([name for name in PIXEL_FORMATS if name != "gray8"]),
    full_range=st.booleans(),
    matrix=st.sampled_from(["bt601", "bt709", "bt2020"]),
    rotation=st.sampled_from([0, 90, 180, 270]),
)
sides = st.integers(1, 90)
TENSOR = {"name": "x", "format": "rgb24", "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=specs, width=sides, height=sides, kind=st.sampled_from(["top-left", "center", "stretch", "crop", "crop of"]), part=sides)
def test_converting_first_changes_nothing(noise, spec, width, height, kind, part):
    size = {"width": width, "height": height, "tensor": TENSOR}
    match kind:
        case "stretch":
            operator = Resize(Resize.Config(**size))
        case "crop":
            operator = CenterCrop(CenterCrop.Config(**size))
        case "crop of":
            operator = CenterCrop(CenterCrop.Config(**size, resize=part))
        case align:
            operator = Letterbox(Letterbox.Config(**size, align=align, pad=114))
    image = noise(spec)
    straight = run(operator, image=image)
    shared = run(operator, image=run(Convert(Convert.Config(format="bgr24")), image=image))
    assert np.array_equal(straight.arrays["x"], shared.arrays["x"])
    assert np.allclose(straight.transform, shared.transform)


@pytest.mark.parametrize(("format", "code"), [("yuv420p", cv2.COLOR_YUV2BGR_I420), ("nv12", cv2.COLOR_YUV2BGR_NV12)])
def test_conversion_is_that_of_opencv(noise, format, code):
    image = noise(ImageSpec(642, 358, format))
    stored = np.concatenate([plane.reshape(-1) for plane in image.planes]).reshape(-1, 642)
    assert np.array_equal(run(Convert(Convert.Config(format="bgr24")), image=image).planes[0], cv2.cvtColor(stored, code))
