import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from devices.spec import ImageSpec, RecordsSpec, TensorSpec
from ops.contract import SpecError
from ops.image.letterbox import Letterbox, place
from ops.image.rendering import PREPARED
from ops.testing import run
from ops.value import Image, apply


def letterbox(**config):
    return Letterbox(Letterbox.Config(**config))


def test_infers_a_picture_or_a_tensor():
    specs = {"image": ImageSpec(640, 480, "yuv420p")}
    assert letterbox(width=320, height=320, output="gray8").infer(specs) == {"image": ImageSpec(320, 320, "gray8")}
    tensors = letterbox(width=320, height=160, tensor={"name": "x"}).infer(specs)
    assert dict(tensors["tensors"].tensors) == {"x": TensorSpec("float32", (1, 3, 160, 320))}
    tensors = letterbox(width=320, height=160, tensor={"name": "x", "layout": "nhwc", "format": "gray8", "dtype": "uint8"}).infer(specs)
    assert dict(tensors["tensors"].tensors) == {"x": TensorSpec("uint8", (1, 160, 320, 1))}


def test_other_inputs_are_refused():
    with pytest.raises(SpecError, match="port image: expected an image"):
        letterbox(width=8, height=8).infer({"image": RecordsSpec("detections", 4)})


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(4, 400), st.integers(4, 300)),
    out=st.tuples(st.integers(20, 200), st.integers(20, 200)),
    align=st.sampled_from(["top-left", "center"]),
)
def test_equals_the_loop_that_everybody_writes(noise, size, out, align):
    """cv2.resize into a canvas, bit for bit."""
    image = noise(ImageSpec(*size, "bgr24"))
    operator = letterbox(width=out[0], height=out[1], align=align, pad=114, tensor={"name": "images", "format": "bgr24", "std": [255]})
    got = run(operator, image=image)
    ratio = min(out[1] / size[1], out[0] / size[0])
    w, h = int(size[0] * ratio), int(size[1] * ratio)
    assume(w and h)
    left, top = ((out[0] - w) // 2, (out[1] - h) // 2) if align == "center" else (0, 0)
    scaled = cv2.resize(image.planes[0], (w, h))
    wanted = cv2.copyMakeBorder(scaled, top, out[1] - top - h, left, out[0] - left - w, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    assert np.array_equal(got.arrays["images"], wanted.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255))
    assert np.allclose(apply(got.transform, np.array([left + w, top + h], float)), size)


@pytest.mark.parametrize(("align", "corner"), [("top-left", (0, 0)), ("center", (0, 91))])
def test_align(ramp, align, corner):
    image = ramp(640, 360)
    got = run(letterbox(width=416, height=416, align=align, pad=7, output="rgb24"), image=image)
    assert np.allclose(apply(got.transform, np.array(corner, float)), [0, 0])
    inside = np.zeros((416, 416), bool)
    inside[corner[1] : corner[1] + 234] = True
    assert (got.planes[0][~inside] == 7).all()
    assert (got.planes[0][inside][:, 2] != 7).all()


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("format", ["rgb24", "yuv420p"])
def test_rotated_pictures_are_placed_upright(ramp, rotation, format):
    image = ramp(64, 36, format, rotation)
    plain = ramp(64, 36, "rgb24")
    turned = np.ascontiguousarray(np.rot90(plain.planes[0], -rotation // 90))
    operator = letterbox(width=48, height=48, align="center", output="rgb24")
    got, wanted = (
        run(operator, image=image),
        run(letterbox(width=48, height=48, align="center", output="rgb24"), image=Image.from_array(turned, "rgb24")),
    )
    assert np.abs(got.planes[0].astype(int) - wanted.planes[0]).max() <= (0 if format == "rgb24" else 5)
    assert np.allclose(got.transform, wanted.transform)


def test_transforms_add_up(ramp):
    """A picture that was letterboxed before still knows the source frame."""
    first = run(letterbox(width=100, height=100, align="center", output="rgb24"), image=ramp(200, 100))
    second = run(letterbox(width=50, height=30, align="center", output="rgb24"), image=first)
    left = (50 - 30) // 2
    assert np.allclose(apply(second.transform, np.array([left + 15.0, 15.0])), [100, 50])


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    out=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    align=st.sampled_from(["top-left", "center"]),
)
def test_place_keeps_the_whole_picture_and_its_shape(size, out, align):
    matrix, (left, top, right, bottom) = place(ImageSpec(*size, "rgb24"), *out, align)
    assert 0 <= left < right <= out[0]
    assert 0 <= top < bottom <= out[1]
    assert right - left >= out[0] - 1 or bottom - top >= out[1] - 1
    assert np.allclose(apply(matrix, np.array([[left, top], [right, bottom]], float)), [[0, 0], size])
    ratio = min(out[0] / size[0], out[1] / size[1])
    assert abs(right - left - size[0] * ratio) <= 1
    assert abs(bottom - top - size[1] * ratio) <= 1


def test_sizes_may_change_from_frame_to_frame(ramp):
    operator = letterbox(width=32, height=32, output="rgb24")
    for i in range(3 * PREPARED):
        width = 20 + i % (2 * PREPARED)
        got = run(operator, i, image=ramp(width, 30))
        alone = run(letterbox(width=32, height=32, output="rgb24"), image=ramp(width, 30))
        assert np.array_equal(got.planes[0], alone.planes[0])
    assert len(operator._rendering._prepared) == PREPARED


def test_same_geometry_different_transform(ramp):
    """Pictures of one spec may come from different places of the frame."""
    operator = letterbox(width=20, height=20, output="rgb24")
    first, second = ramp(20, 20), ramp(20, 20)
    second.transform = np.array([[1.0, 0, 5], [0, 1.0, 6]])
    assert np.allclose(run(operator, image=first).transform, np.eye(2, 3))
    assert np.allclose(run(operator, image=second).transform, second.transform)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"width": 0, "height": 4}, "greater than or equal to 1"),
        ({"width": 4, "height": 4, "pad": 300}, "less than or equal to 255"),
        ({"width": 4, "height": 4, "widht": 4}, "Extra inputs"),
        ({"width": 4, "height": 4, "tensor": {"name": "x", "mean": (1, 2)}}, "mean: expected 1 or 3 numbers for rgb24, got 2"),
        ({"width": 4, "height": 4, "tensor": {"name": "x", "std": (0,)}}, "std: expected numbers other than 0"),
        ({"width": 4, "height": 4, "tensor": {"name": "x", "dtype": "uint8", "mean": (1,)}}, "plain levels"),
    ],
)
def test_wrong_config_is_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        Letterbox.Config(**config)
