import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.spec import ImageSpec, ManySpec, RecordsSpec, TensorSpec, TensorsSpec
from ops.contract import SpecError
from ops.image.rotated_crop import RotatedCrop
from ops.testing import run
from ops.value import apply, invert


def rotated(**config):
    return RotatedCrop(RotatedCrop.Config(**config))


def hand(center, direction, size=40.0):
    """A palm whose line from wrist to middle finger has this direction (radians, anticlockwise from the x axis)."""
    along = np.array([math.cos(direction), -math.sin(direction)]) * size / 2
    box = (center[0] - size / 2, center[1] - size / 2, center[0] + size / 2, center[1] + size / 2)
    return box, 0.9, [center - along, center, center + along]


def test_infers_a_bounded_list():
    operator = rotated(tensor={"name": "x", "layout": "nhwc", "std": (255,)})
    specs = {"image": ImageSpec(640, 480, "yuv420p"), "detections": RecordsSpec("detections", 8, points=7)}
    item = TensorsSpec((("x", TensorSpec("float32", (1, 224, 224, 3))),))
    assert operator.infer(specs) == {"tensors": ManySpec(item, 4)}


def test_key_points_are_needed():
    specs = {"image": ImageSpec(640, 480, "yuv420p"), "detections": RecordsSpec("detections", 8, points=2)}
    with pytest.raises(SpecError, match="expected detections with at least 3 key points, got 2 key points"):
        rotated().infer(specs)


def test_upright_hand_is_mediapipes_rectangle(ramp, detections):
    """No turn: centre moved up by half a box, side 2.6 boxes."""
    got = run(rotated(), image=ramp(640, 480), detections=detections(hand(np.array([320.0, 240.0]), math.pi / 2)))
    corners = apply(got.items[0].transform, np.array([[0.0, 0.0], [224.0, 224.0]]))
    assert np.allclose(corners, [[320 - 52, 220 - 52], [320 + 52, 220 + 52]])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(direction=st.floats(-math.pi, math.pi), size=st.floats(20, 100), target=st.sampled_from([90.0, 0.0, -45.0]))
def test_line_has_the_wanted_angle_in_the_crop(ramp, detections, direction, size, target):
    operator = rotated(angle=target, width=64, height=64)
    found = detections(hand(np.array([150.0, 120.0]), direction, size))
    got = run(operator, image=ramp(320, 240), detections=found).items[0]
    start, middle, end = apply(invert(got.transform), found[0]["points"].astype(float))
    x, y = end - start
    assert math.isclose(math.cos(math.atan2(-y, x) - math.radians(target)), 1, abs_tol=1e-4)
    assert np.allclose(math.hypot(x, y), 64 / 2.6, rtol=1e-3)
    assert np.allclose(middle, [32, 32 + 0.5 * 64 / 2.6], atol=1e-2)


def test_pixels_are_those_of_the_frame(ramp, detections):
    """The ramp's colours tell where each pixel of the crop came from."""
    image = ramp(640, 480)
    got = run(rotated(output="rgb24", width=96, height=96), image=image, detections=detections(hand(np.array([320.0, 240.0]), 0.7, 60)))
    item = got.items[0]
    for x, y in ((10, 10), (48, 48), (80, 30)):
        where = apply(item.transform, np.array([x + 0.5, y + 0.5])) - 0.5
        red, green, _ = item.planes[0][y, x]
        assert abs(red - where[0] * 250 / 639) <= 1.5
        assert abs(green - where[1] * 250 / 479) <= 1.5


def test_rotation_metadata_is_honoured(ramp, detections):
    """A camera on its side: boxes count in the upright frame, the crop is upright."""
    image = ramp(480, 640, rotation=90)
    upright = np.rot90(ramp(480, 640).planes[0], -1)
    found = detections(((100, 100, 120, 120), 0.9, [(110, 120), (110, 110), (110, 100)]))
    got = run(rotated(output="rgb24", width=20, height=20, scale=1.0, shift=(0, 0)), image=image, detections=found)
    assert np.array_equal(got.items[0].planes[0], upright[100:120, 100:120])


@pytest.mark.parametrize(("outside", "corner"), [("pad", 9), ("nearest", 60)])
def test_outside_the_picture(ramp, detections, outside, corner):
    found = detections(hand(np.array([5.0, 5.0]), math.pi / 2))
    got = run(rotated(output="rgb24", outside=outside, pad=9), image=ramp(640, 480), detections=found)
    assert got.items[0].planes[0][0, 0, 2] == corner


def test_boxes_without_size_or_place_are_left_out(ramp, detections):
    nowhere = ((math.nan, 0, 1, 1), 0.9, [(0, 0)] * 3)
    flat = ((5, 5, 5, 5), 0.9, [(5, 5)] * 3)
    good = hand(np.array([50.0, 50.0]), 1.0)
    assert run(rotated(), image=ramp(100, 100), detections=detections(nowhere, flat, good)).parents == [2]


def test_capacity_keeps_the_best(ramp, detections):
    rows = [(*hand(np.array([50.0, 50.0]), 1.0)[:1], score, hand(np.array([50.0, 50.0]), 1.0)[2]) for score in (0.5, 0.6, 0.9)]
    assert run(rotated(capacity=2), image=ramp(100, 100), detections=detections(*rows)).parents == [1, 2]
