import numpy as np

from devices.spec import TensorSpec
from ops.image.normalise import Normalise
from ops.testing import run


def test_the_picture_as_a_tensor_of_its_own_size(ramp):
    image = ramp(33, 21)
    tensor = {"name": "x", "mean": (10, 20, 30), "std": (2, 4, 8), "layout": "nhwc"}
    operator = Normalise(Normalise.Config(tensor=tensor))
    assert operator.infer({"image": image.spec})["tensors"]["x"] == TensorSpec("float32", (1, 21, 33, 3))
    got = run(operator, image=image)
    assert np.allclose(got.arrays["x"][0], (image.planes[0].astype(float) - (10, 20, 30)) / (2, 4, 8), atol=1e-5)
    assert np.allclose(got.transform, np.eye(2, 3))


def test_rotated_pictures_come_upright(ramp):
    got = run(Normalise(Normalise.Config(tensor={"name": "x", "layout": "nhwc"})), image=ramp(33, 21, rotation=180))
    assert np.array_equal(got.arrays["x"][0], ramp(33, 21).planes[0][::-1, ::-1])
