import numpy as np
import pytest

from devices.spec import ImageSpec, RecordsSpec
from ops.value import Image, rotation_transform


@pytest.fixture
def ramp():
    """Makes a picture of any spec whose pixels tell where they are: red grows to the right, green grows downwards (as stored)."""
    from devices.kernels import ensure
    from devices.kernels.image import Renderer

    ensure()

    def make(width, height, format="rgb24", rotation=0):
        x, y = np.meshgrid(np.linspace(0, 250, width), np.linspace(0, 250, height))
        pixels = np.stack([x, y, np.full_like(x, 60)], axis=2).astype(np.uint8)
        spec = ImageSpec(width, height, format, rotation=rotation)
        planes = spec.split(np.empty(spec.nbytes, np.uint8))
        Renderer(ImageSpec(width, height, "rgb24"), spec)([pixels], planes)
        return Image(spec, planes, rotation_transform(spec))

    return make


@pytest.fixture
def detections():
    """Makes detections from rows of (box, score, points)."""

    def make(*rows, points=3):
        found = np.zeros(len(rows), RecordsSpec("detections", 64, points=points).dtype)
        for i, (box, score, where) in enumerate(rows):
            found[i]["box"], found[i]["score"], found[i]["track"] = box, score, -1
            if points:
                found[i]["points"] = where
        return found

    return make


@pytest.fixture
def noise():
    """Makes a picture of any spec out of random bytes."""

    def make(spec, seed=0):
        buffer = np.random.default_rng(seed).integers(0, 256, spec.nbytes, np.uint8)
        return Image(spec, spec.split(buffer), rotation_transform(spec))

    return make
