"""The pixel kernel against a plain float reference, against OpenCV, and at the edges of its memory."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.kernels.image import Pixels, Placement, Renderer
from devices.spec import PIXEL_FORMATS, ImageSpec

SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


# ---- the reference: components at full size, sampled, then turned into colour, all in float64 ----


def components(spec, planes):
    """(H, W) float arrays of the source components; chroma is repeated."""
    w, h = spec.width, spec.height
    planes = [plane.astype(float) for plane in planes]

    def grown(chroma, columns, rows):
        return np.repeat(np.repeat(chroma, columns, axis=1), rows, axis=0)[:h, :w]

    match spec.format:
        case "yuv420p":
            return [planes[0], grown(planes[1], 2, 2), grown(planes[2], 2, 2)]
        case "nv12":
            return [planes[0], grown(planes[1][..., 0], 2, 2), grown(planes[1][..., 1], 2, 2)]
        case "yuv422p":
            return [planes[0], grown(planes[1], 2, 1), grown(planes[2], 2, 1)]
        case "yuv444p":
            return planes
        case "yuyv422":
            packed = planes[0]
            luma = packed[..., [0, 2]].reshape(h, -1)[:, :w]
            return [luma, grown(packed[..., 1], 2, 1), grown(packed[..., 3], 2, 1)]
        case "gray8":
            return planes
        case _:
            return [planes[0][..., c] for c in range(3)]


def rgb(spec, parts, *, clipped=False):
    """Red, green, blue in 0..255, not clipped; with `clipped`, luma below black counts as black."""
    if spec.format in ("rgb24", "rgba"):
        return parts
    if spec.format in ("bgr24", "bgra"):
        return parts[::-1]
    if spec.format == "gray8":
        return [parts[0]] * 3
    y, u, v = parts if not clipped or spec.full_range else (np.maximum(parts[0], 16), *parts[1:])
    red, blue = WEIGHTS[spec.matrix]
    green = 1 - red - blue
    if spec.full_range:
        u, v = u - 128, v - 128
    else:
        y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return [r, (y - red * r - blue * b) / green, b]


def channels(spec, parts, target, *, clipped=False):
    """Levels of the target's channels (RGB, BGR or gray), clipped, not rounded."""
    if target == "gray8":
        if spec.format in ("rgb24", "rgba", "bgr24", "bgra"):
            r, g, b = rgb(spec, parts)
            result = [0.299 * r + 0.587 * g + 0.114 * b]
        elif spec.format == "gray8" or spec.full_range:
            result = [parts[0]]
        else:
            result = [(parts[0] - 16) * 255 / 219]
    else:
        result = rgb(spec, parts, clipped=clipped)[:: 1 if target == "rgb24" else -1]
    return [np.clip(channel, 0, 255) for channel in result]


def sampled(part, x, y):
    """Bilinear values of (H, W) at arrays of continuous coordinates; outside, the nearest pixel."""
    h, w = part.shape
    x, y = np.clip(x - 0.5, 0, w - 1), np.clip(y - 0.5, 0, h - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, w - 1), np.minimum(y0 + 1, h - 1)
    fx, fy = x - x0, y - y0
    upper = part[y0, x0] * (1 - fx) + part[y0, x1] * fx
    return upper * (1 - fy) + (part[y1, x0] * (1 - fx) + part[y1, x1] * fx) * fy


def reference(spec, planes, target, matrix, size):
    """(C, height, width) levels."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    sx, sy = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2], matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    return np.stack(channels(spec, [sampled(part, sx, sy) for part in components(spec, planes)], target)), (sx, sy)


def picture(spec, seed=0, *, smooth=False):
    """Random planes; smooth ones stay inside what every format can show."""
    rng = np.random.default_rng(seed)
    planes = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in spec.planes]
    if smooth:
        planes = [
            (cv2.GaussianBlur(plane, (0, 0), 4).reshape(plane.shape).astype(int) - 128 + 128).clip(96, 160).astype(np.uint8)
            for plane in planes
        ]
    return planes


specs = st.builds(
    ImageSpec,
    width=st.integers(1, 70),
    height=st.integers(1, 50),
    format=st.sampled_from(PIXEL_FORMATS),
    full_range=st.booleans(),
    matrix=st.sampled_from(["bt601", "bt709", "bt2020"]),
)


def close(got, wanted, slack=0.02):
    """Rounded from the exact value: float32 and 15-bit gray weights may decide otherwise only next to a tie."""
    assert np.abs(got.astype(float) - wanted).max(initial=0) <= 0.5 + slack


# ---- laws ----


@SLOW
@given(spec=specs, target=st.sampled_from(["rgb24", "bgr24", "gray8"]), seed=st.integers(0, 99))
def test_conversion_equals_the_reference(spec, target, seed):
    """BT.601 has the weights of OpenCV, which have three decimals."""
    planes = picture(spec, seed)
    out = ImageSpec(spec.width, spec.height, target)
    got = [np.empty(shape, np.uint8) for shape in out.planes]
    Renderer(spec, out)(planes, got)
    wanted = np.stack(channels(spec, components(spec, planes), target, clipped=True))
    close(got[0].reshape(spec.height, spec.width, -1).transpose(2, 0, 1), wanted, slack=0.25 if spec.matrix == "bt601" else 0.02)


@SLOW
@given(
    format=st.sampled_from(["rgb24", "bgra", "gray8"]),
    source=st.tuples(st.integers(1, 70), st.integers(1, 50)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 40)),
    crop=st.tuples(st.floats(0, 0.6), st.floats(0, 0.6), st.floats(0.05, 1), st.floats(0.05, 1)),
)
def test_scaled_crop_equals_the_reference(format, source, size, crop):
    """To 1/1024 of a level for each weight, and the same again for rounding down twice."""
    spec = ImageSpec(*source, format)
    planes = picture(spec)
    target = "gray8" if format == "gray8" else "rgb24"
    left, top = crop[0] * spec.width, crop[1] * spec.height
    matrix = np.array([[crop[2] * spec.width / size[0], 0, left], [0, crop[3] * spec.height / size[1], top]])
    got = np.empty((1, 1 if target == "gray8" else 3, size[1], size[0]), np.float32)
    Renderer(spec, Pixels(*size, target), matrix)(planes, [got])
    wanted, _ = reference(spec, planes, target, matrix, size)
    close(got[0], wanted, slack=0.75)


@SLOW
@given(
    spec=specs,
    target=st.sampled_from(["rgb24", "bgr24", "gray8"]),
    size=st.tuples(st.integers(1, 60), st.integers(1, 40)),
    crop=st.tuples(st.floats(0, 0.6), st.floats(0, 0.6), st.floats(0.05, 1), st.floats(0.05, 1)),
    turn=st.sampled_from([((1, 0), (0, 1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0)), ((-1, 0), (0, 1))]),
)
def test_scaling_at_once_equals_converting_first(spec, target, size, crop, turn):
    """Bit for bit, turned by quarters or not: results do not depend on whether the plan shares a converted picture."""
    planes = picture(spec)
    turn, span = np.array(turn), np.array([crop[2] * spec.width, crop[3] * spec.height])
    corner = np.array([crop[0] * spec.width, crop[1] * spec.height]) + np.where(turn.sum(1) < 0, span, 0)
    matrix = np.column_stack([turn * (span @ np.abs(turn) / size), corner])
    yuv_to_gray = target == "gray8" and spec.format.startswith(("yu", "nv"))
    between = ImageSpec(spec.width, spec.height, "gray8" if yuv_to_gray or spec.format == "gray8" else "bgr24")
    out = ImageSpec(*size, target)
    converted, at_once, later = (np.empty(one.planes[0], np.uint8) for one in (between, out, out))
    Renderer(spec, between)(planes, [converted])
    Renderer(between, out, matrix)([converted], [later])
    Renderer(spec, out, matrix)(planes, [at_once])
    assert np.array_equal(at_once, later)


@SLOW
@given(
    spec=specs,
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    turn=st.floats(-7, 7),
    zoom=st.floats(0.1, 4),
    seed=st.integers(0, 9),
)
def test_turned_crop_equals_the_reference(spec, size, turn, zoom, seed):
    rng = np.random.default_rng(seed)
    planes = picture(spec)
    turned = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = rng.uniform(-10, 60, 2)
    matrix = np.column_stack([turned, middle - turned @ (size[0] / 2, size[1] / 2)])
    got = np.empty((1, 3, size[1], size[0]), np.float32)
    renderer = Renderer(spec, Pixels(*size), moving=True)
    renderer(planes, [got], matrix)
    wanted, _ = reference(spec, planes, "rgb24", matrix, size)
    close(got[0], wanted, slack=0.2)  # float32 coordinates


@SLOW
@given(spec=specs, turn=st.floats(-7, 7), zoom=st.floats(0.1, 4))
def test_outside_is_pad(spec, turn, zoom):
    planes = picture(spec)
    turned = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.column_stack([turned, np.array([spec.width / 2, 1.0]) - turned @ (12, 12)])
    got = np.empty((1, 3, 24, 24), np.float32)
    Renderer(spec, Pixels(24, 24), placement=Placement(None, 77.0, "pad"), moving=True)(planes, [got], matrix)
    wanted, (sx, sy) = reference(spec, planes, "rgb24", matrix, (24, 24))
    edge = np.minimum(np.minimum(sx, spec.width - sx), np.minimum(sy, spec.height - sy))
    assert (got[0][:, edge < -0.01] == 77).all()
    assert (np.abs(got[0] - wanted)[:, edge > 0.01] <= 2).all()


@SLOW
@given(spec=specs, angle=st.sampled_from([90, 180, 270]))
def test_quarter_turns_are_exact(spec, angle):
    planes = picture(spec)
    w, h = spec.width, spec.height
    matrix = {90: [[0, 1, 0], [-1, 0, h]], 180: [[-1, 0, w], [0, -1, h]], 270: [[0, -1, w], [1, 0, 0]]}[angle]
    size = (w, h) if angle == 180 else (h, w)
    straight, turned = np.empty((h, w, 3), np.uint8), np.empty((size[1], size[0], 3), np.uint8)
    Renderer(spec, ImageSpec(w, h, "rgb24"))(planes, [straight])
    Renderer(spec, ImageSpec(*size, "rgb24"), np.array(matrix, float))(planes, [turned])
    assert np.array_equal(turned, np.rot90(straight, -angle // 90))


@SLOW
@given(spec=specs, layout=st.sampled_from(["nchw", "nhwc"]), target=st.sampled_from(["rgb24", "bgr24", "gray8"]))
def test_tensor_made_directly_equals_picture_made_first(spec, layout, target):
    """One pass gives what letterbox, then normalise gives: results do not depend on what the plan shares."""
    planes = picture(spec)
    size, rect = (31, 23), (4, 0, 27, 23)
    matrix = np.array([[spec.width / 23, 0, -4 * spec.width / 23], [0, spec.height / 23, 0]])
    placement = Placement(rect, 114.0)
    count = 1 if target == "gray8" else 3
    mean, std = (123.5, 116.0, 103.0)[:count], (58.0, 57.0, 57.5)[:count]
    first = ImageSpec(*size, target)
    shown = [np.empty(shape, np.uint8) for shape in first.planes]
    Renderer(spec, first, matrix, placement)(planes, shown)
    direct, second = (np.empty(Pixels(*size, target, layout=layout).spec.shape, np.float32) for _ in range(2))
    Renderer(spec, Pixels(*size, target, mean, std, layout), matrix, placement)(planes, [direct])
    Renderer(first, Pixels(*size, target, mean, std, layout))(shown, [second])
    assert np.array_equal(direct, second)
    levels = shown[0].reshape(size[1], size[0], count)
    wanted = (levels - np.array(mean, np.float32)) / np.array(std, np.float32)
    assert np.array_equal(direct[0] if layout == "nhwc" else direct[0].transpose(1, 2, 0), wanted)
    assert (levels[:, :4] == 114).all()
    assert (levels[:, 27:] == 114).all()


@SLOW
@given(spec=specs, target=st.sampled_from(PIXEL_FORMATS))
def test_to_any_format_and_back_stays_close(spec, target):
    """Colour survives the way through every format that has colour (smooth pictures: chroma is averaged)."""
    spec = ImageSpec(spec.width, spec.height, "rgb24")
    x, y = np.meshgrid(np.arange(spec.width), np.arange(spec.height))
    source = np.stack([100 + x * 0.5, 110 + y * 0.5, 120 + (x + y) * 0.3], axis=2).astype(np.uint8)
    through = ImageSpec(spec.width, spec.height, target, full_range=spec.width % 2 == 0, matrix="bt709")
    middle, back = through.split(np.empty(through.nbytes, np.uint8)), np.empty_like(source)
    Renderer(spec, through)([source], middle)
    Renderer(through, spec)(middle, [back])
    if target == "gray8":
        assert np.abs(back[..., 0] - source @ [0.299, 0.587, 0.114]).max() <= 1
    else:
        assert np.abs(back.astype(int) - source).max() <= 3
    if target in ("bgra", "rgba"):
        assert (middle[0][..., 3] == 255).all()


@SLOW
@given(spec=specs)
def test_same_format_is_a_copy(spec):
    planes = picture(spec)
    got = [np.zeros(shape, np.uint8) for shape in spec.planes]
    Renderer(spec, spec)(planes, got)
    if spec.format in ("bgra", "rgba"):
        got[0][..., 3] = planes[0][..., 3]
    elif spec.format == "yuyv422" and spec.width % 2:
        got[0][:, -1, 2] = planes[0][:, -1, 2]
    assert all(np.array_equal(a, b) for a, b in zip(got, planes, strict=True))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_uint8_tensor_carries_levels(layout):
    spec = ImageSpec(33, 21, "yuv420p")
    planes = picture(spec)
    shown, tensor = np.empty((21, 33, 3), np.uint8), np.empty(Pixels(33, 21, layout=layout).spec.shape, np.uint8)
    Renderer(spec, ImageSpec(33, 21, "rgb24"))(planes, [shown])
    Renderer(spec, Pixels(33, 21, layout=layout, dtype="uint8"))(planes, [tensor])
    assert np.array_equal(tensor[0] if layout == "nhwc" else tensor[0].transpose(1, 2, 0), shown)


# ---- OpenCV ----

CODES = {"yuv420p": cv2.COLOR_YUV2BGR_I420, "nv12": cv2.COLOR_YUV2BGR_NV12, "yuyv422": cv2.COLOR_YUV2BGR_YUYV}


def opencv_bgr(spec, planes):
    if spec.format in ("yuv420p", "nv12"):
        return cv2.cvtColor(np.concatenate([p.reshape(-1) for p in planes]).reshape(-1, spec.width), CODES[spec.format])
    if spec.format == "yuyv422":
        return cv2.cvtColor(planes[0].reshape(spec.height, spec.width, 2), CODES[spec.format])
    return planes[0][..., :3].copy() if spec.format == "bgra" else planes[0]


@SLOW
@given(
    format=st.sampled_from(["yuv420p", "nv12", "yuyv422", "bgr24", "bgra", "gray8"]),
    size=st.tuples(st.integers(1, 200), st.integers(1, 150)),
    scaled=st.tuples(st.integers(1, 200), st.integers(1, 150)),
    seed=st.integers(0, 99),
)
def test_noise_scales_and_converts_as_in_opencv(format, size, scaled, seed):
    """Bit for bit, up and down, luma below black included (OpenCV converts even sizes only)."""
    even = format in CODES
    spec = ImageSpec(size[0] + size[0] % 2 * even, size[1] + size[1] % 2 * even, format)
    planes = picture(spec, seed)
    shown = opencv_bgr(spec, planes)
    plain = "gray8" if format == "gray8" else "bgr24"
    converted, got = np.empty(shown.shape, np.uint8), np.empty((*scaled[::-1], *shown.shape[2:]), np.uint8)
    Renderer(spec, ImageSpec(spec.width, spec.height, plain))(planes, [converted])
    assert np.array_equal(converted, shown)
    matrix = np.array([[spec.width / scaled[0], 0, 0], [0, spec.height / scaled[1], 0]])
    Renderer(spec, ImageSpec(*scaled, plain), matrix)(planes, [got])
    assert np.array_equal(got, cv2.resize(shown, scaled))


@pytest.mark.parametrize("format", ["yuv420p", "nv12", "yuyv422", "bgr24"])
@pytest.mark.parametrize("size", [(160, 90), (416, 234), (224, 224), (700, 500), (320, 180), (640, 360), (1280, 720)])
def test_scaled_as_in_opencv(format, size):
    spec = ImageSpec(640, 360, format)
    planes = picture(spec)
    got = np.empty((size[1], size[0], 3), np.uint8)
    Renderer(spec, ImageSpec(*size, "bgr24"), np.array([[640 / size[0], 0, 0], [0, 360 / size[1], 0]]))(planes, [got])
    assert np.array_equal(got, cv2.resize(opencv_bgr(spec, planes), size))


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [("bgr24", "rgb24", cv2.COLOR_BGR2RGB), ("bgr24", "gray8", cv2.COLOR_BGR2GRAY), ("rgb24", "gray8", cv2.COLOR_RGB2GRAY),
     ("bgra", "bgr24", cv2.COLOR_BGRA2BGR), ("bgr24", "rgba", cv2.COLOR_BGR2RGBA), ("gray8", "bgr24", cv2.COLOR_GRAY2BGR)],
)  # fmt: skip
def test_copies_and_gray_equal_opencv(source, target, code):
    spec, out = ImageSpec(101, 37, source), ImageSpec(101, 37, target)
    planes, got = picture(spec), np.empty(out.planes[0], np.uint8)
    Renderer(spec, out)(planes, [got])
    assert np.array_equal(got, cv2.cvtColor(planes[0], code))


def test_turned_like_opencv():
    spec = ImageSpec(640, 480, "bgr24")
    planes = picture(spec)
    forward = cv2.getRotationMatrix2D((300, 200), 30, 0.5)
    forward[:, 2] -= (188, 88)
    matrix = cv2.invertAffineTransform(forward)
    matrix[:, 2] += 0.5 - matrix[:, :2] @ (0.5, 0.5)
    got = np.empty((224, 224, 3), np.uint8)
    Renderer(spec, ImageSpec(224, 224, "bgr24"), moving=True)(planes, [got], matrix)
    wanted = cv2.warpAffine(planes[0], forward, (224, 224), borderMode=cv2.BORDER_REPLICATE)
    difference = np.abs(got.astype(int) - wanted)
    assert difference.max() <= 1
    assert difference.mean() < 0.002


# ---- memory ----


@SLOW
@given(
    spec=specs,
    target=st.sampled_from(PIXEL_FORMATS),
    size=st.tuples(st.integers(1, 60), st.integers(1, 40)),
    matrix=st.sampled_from(["whole", "fit", "crop", "turn", "far"]),
    at_start=st.booleans(),
)
def test_never_leaves_its_memory(fence, monkeypatch, spec, target, size, matrix, at_start):
    """Every plane, output and scratch row touches a forbidden page: one byte too far ends the process."""

    def scratch(self, count):
        memory = fence.array(count + 256, at_start=at_start)
        memory[:] = 0
        self._keep.append(memory)
        return memory.__array_interface__["data"][0] + (0 if at_start else 256)

    monkeypatch.setattr(Renderer, "_scratch", scratch)
    try:
        if matrix == "whole":
            size = spec.width, spec.height
        fitted = np.array([[spec.width / size[0], 0, 0], [0, spec.height / size[1], 0]])
        maps = {
            "whole": None,
            "fit": fitted,
            "crop": np.array([[0.7, 0, spec.width * 0.4], [0, 0.6, spec.height * 0.5]]),
            "turn": np.array([[0.9, -1.1, 3.0], [1.2, 0.8, -7.0]]),
            "far": np.array([[1e6, -1e6, -1e6], [1e6, 1e6, 1e6]]),
        }
        planes = [fence.array(shape, at_start=at_start) for shape in spec.planes]
        for plane, content in zip(planes, picture(spec), strict=True):
            plane[:] = content
        out = ImageSpec(*size, target)
        Renderer(spec, out, maps[matrix])(planes, [fence.array(shape, at_start=at_start) for shape in out.planes])
        if target in ("rgb24", "gray8"):
            for layout in ("nchw", "nhwc"):
                pixels = Pixels(*size, target, layout=layout)
                Renderer(spec, pixels, maps[matrix])(planes, [fence.array(pixels.spec.shape, np.float32, at_start=at_start)])
    finally:
        fence.close()


@SLOW
@given(spec=specs, target=st.sampled_from(PIXEL_FORMATS), size=st.tuples(st.integers(1, 40), st.integers(1, 30)))
def test_fills_its_output_wholly_and_nothing_else(spec, target, size):
    planes = picture(spec)
    kept = [plane.copy() for plane in planes]
    out = ImageSpec(*size, target)
    results = []
    for fill in (0, 255):
        memory = np.full(out.nbytes + 128, fill, np.uint8)
        Renderer(spec, out, np.array([[spec.width / size[0], 0, 0], [0, spec.height / size[1], 0]]))(planes, out.split(memory[64:]))
        assert (memory[:64] == fill).all()
        assert (memory[64 + out.nbytes :] == fill).all()
        results.append(memory[64 : 64 + out.nbytes])
    assert np.array_equal(*results), "some output bytes were never written"
    assert all(np.array_equal(a, b) for a, b in zip(planes, kept, strict=True))


# ---- wrong calls ----

SPEC = ImageSpec(8, 6, "bgr24")
GOOD = np.zeros((6, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("planes", "outputs", "message"),
    [
        ([GOOD, GOOD], [GOOD.copy()], "expected 1 planes"),
        ([GOOD[:5]], [GOOD.copy()], "plane 0 of image 8x6 bgr24: expected contiguous uint8"),
        ([GOOD.astype(np.float32)], [GOOD.copy()], "got float32"),
        ([np.zeros((6, 16, 3), np.uint8)[:, ::2]], [GOOD.copy()], "expected contiguous"),
        ([GOOD], [np.zeros((6, 8, 4), np.uint8)], "output 0: expected writable contiguous uint8"),
        ([GOOD], [np.frombuffer(bytes(144), np.uint8).reshape(6, 8, 3)], "expected writable"),
        ([GOOD], [], "expected 1 output arrays"),
    ],
)
def test_wrong_arrays_are_refused(planes, outputs, message):
    with pytest.raises(ValueError, match=message):
        Renderer(SPEC, ImageSpec(8, 6, "rgb24"))(planes, outputs)


@pytest.mark.parametrize("matrix", [np.eye(3), np.full((2, 3), np.nan), np.full((2, 3), np.inf), np.full((2, 3), 1e9)])
def test_wrong_matrices_are_refused(matrix):
    with pytest.raises(ValueError, match="expected a finite 2x3 matrix"):
        Renderer(SPEC, SPEC, matrix)
    with pytest.raises(ValueError, match="expected a finite 2x3 matrix"):
        Renderer(SPEC, SPEC, moving=True)([GOOD], [GOOD.copy()], matrix)


@pytest.mark.parametrize("rect", [(-1, 0, 4, 4), (0, 0, 9, 4), (4, 0, 4, 4), (0, 5, 4, 4)])
def test_wrong_rectangles_are_refused(rect):
    with pytest.raises(ValueError, match="expected a placed rectangle inside 8x6"):
        Renderer(SPEC, SPEC, None, Placement(rect))


def test_matrix_belongs_to_moving_renderers():
    with pytest.raises(ValueError, match="moving"):
        Renderer(SPEC, SPEC)([GOOD], [GOOD.copy()], np.eye(2, 3))
    with pytest.raises(ValueError, match="moving"):
        Renderer(SPEC, SPEC, moving=True)([GOOD], [GOOD.copy()])
