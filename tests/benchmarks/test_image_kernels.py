"""The pixel kernel beside the chain of OpenCV and NumPy calls that it replaces, both on one thread.

Run with `pytest tests/benchmarks/test_image_kernels.py --benchmark-only`; the ratio (below 1: the kernel is faster) is printed and kept
in the report's `extra_info`. The two sides take turns, so that both see the same machine.
"""

import time

import cv2
import numpy as np
import pytest

from devices.kernels import ensure
from devices.kernels.image import Pixels, Placement, Renderer
from devices.spec import ImageSpec

ROUNDS = 40


@pytest.fixture(autouse=True)
def prepared():
    ensure()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture
def compare(benchmark, request, capsys):
    def measure(kernel, opencv):
        kernel(), opencv()
        ours, theirs = [], []
        for _ in range(ROUNDS):
            for side, times in ((kernel, ours), (opencv, theirs)):
                start = time.perf_counter()
                side()
                times.append(time.perf_counter() - start)
        ratio = min(ours) / min(theirs)
        benchmark.extra_info["ratio"] = ratio
        with capsys.disabled():
            print(f"\n{request.node.name}: {min(ours) * 1e3:.2f} ms, OpenCV {min(theirs) * 1e3:.2f} ms, ratio {ratio:.2f}")
        benchmark(kernel)

    return measure


def frames(width, height):
    """The same smooth picture as yuv420p planes, as one buffer for OpenCV, and as bgr24."""
    rng = np.random.default_rng(0)
    buffer = cv2.GaussianBlur(rng.integers(0, 256, (height * 3 // 2, width), np.uint8), (0, 0), 3)
    spec = ImageSpec(width, height, "yuv420p")
    return spec, spec.split(buffer.reshape(-1)), buffer, cv2.cvtColor(buffer, cv2.COLOR_YUV2BGR_I420)


def letterboxed(bgr, size, scaled):
    canvas = np.full((size, size, 3), 114, np.uint8)
    canvas[: scaled[1], : scaled[0]] = cv2.resize(bgr, scaled)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)


@pytest.mark.parametrize("source", ["yuv420p", "bgr24"])
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080)])
def test_letterbox_416(compare, source, size):
    spec, planes, buffer, bgr = frames(*size)
    scaled = (416, size[1] * 416 // size[0])
    matrix = np.array([[size[0] / scaled[0], 0, 0], [0, size[1] / scaled[1], 0]])
    target, placement = Pixels(416, 416, "bgr24"), Placement((0, 0, *scaled), 114)
    out = np.empty(target.spec.shape, np.float32)
    if source == "yuv420p":
        renderer = Renderer(spec, target, matrix, placement)
        compare(lambda: renderer(planes, [out]), lambda: letterboxed(cv2.cvtColor(buffer, cv2.COLOR_YUV2BGR_I420), 416, scaled))
    else:
        renderer = Renderer(ImageSpec(*size, "bgr24"), target, matrix, placement)
        compare(lambda: renderer([bgr], [out]), lambda: letterboxed(bgr, 416, scaled))


@pytest.mark.parametrize("source", ["yuv420p", "bgr24"])
def test_imagenet_224(compare, source):
    spec, planes, buffer, bgr = frames(1280, 720)
    mean, std = np.array([123.675, 116.28, 103.53], np.float32), np.array([58.395, 57.12, 57.375], np.float32)
    target = Pixels(224, 224, "rgb24", tuple(map(float, mean)), tuple(map(float, std)))
    matrix = np.array([[720 / 256, 0, (455 - 224) / 2 * 720 / 256], [0, 720 / 256, 16 * 720 / 256]])
    out = np.empty(target.spec.shape, np.float32)

    def chain(picture):
        crop = cv2.resize(picture, (455, 256))[16:240, 115:339]
        values = (cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32) - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

    if source == "yuv420p":
        renderer = Renderer(spec, target, matrix)
        compare(lambda: renderer(planes, [out]), lambda: chain(cv2.cvtColor(buffer, cv2.COLOR_YUV2BGR_I420)))
    else:
        renderer = Renderer(ImageSpec(1280, 720, "bgr24"), target, matrix)
        compare(lambda: renderer([bgr], [out]), lambda: chain(bgr))


def test_rotated_hand_224(compare):
    spec, planes, buffer, _ = frames(640, 480)
    forward = cv2.getRotationMatrix2D((320, 240), 30, 0.8)
    forward[:, 2] -= (208, 128)
    matrix = cv2.invertAffineTransform(forward)
    matrix[:, 2] += 0.5 - matrix[:, :2] @ (0.5, 0.5)
    target = Pixels(224, 224, "rgb24", std=(255.0,), layout="nhwc")
    out = np.empty(target.spec.shape, np.float32)
    renderer = Renderer(spec, target, moving=True)

    def chain():
        crop = cv2.warpAffine(cv2.cvtColor(buffer, cv2.COLOR_YUV2BGR_I420), forward, (224, 224), borderMode=cv2.BORDER_REPLICATE)
        return cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32)[None] / 255

    compare(lambda: renderer(planes, [out], matrix), chain)


CONVERSIONS = {
    ("yuv420p", "bgr24"): cv2.COLOR_YUV2BGR_I420,
    ("bgr24", "yuv420p"): cv2.COLOR_BGR2YUV_I420,
    ("bgr24", "gray8"): cv2.COLOR_BGR2GRAY,
    ("bgr24", "rgb24"): cv2.COLOR_BGR2RGB,
}


@pytest.mark.parametrize(("source", "target"), list(CONVERSIONS))
def test_conversion_720p(compare, source, target):
    spec, planes, buffer, bgr = frames(1280, 720)
    given, planes = (spec, planes) if source == "yuv420p" else (ImageSpec(1280, 720, source), [bgr])
    taken = buffer if source == "yuv420p" else bgr
    wanted = ImageSpec(1280, 720, target)
    out = wanted.split(np.empty(wanted.nbytes, np.uint8))
    renderer = Renderer(given, wanted)
    compare(lambda: renderer(planes, out), lambda: cv2.cvtColor(taken, CONVERSIONS[source, target]))
