from dataclasses import replace
from pathlib import Path

import pytest

from devices.engine import ModelInfo, PixelInput
from devices.spec import ImageSpec, TensorSpec
from ops.contract import SpecError
from ops.image.center_crop import CenterCrop
from ops.image.fit import pixels_step
from ops.image.letterbox import Letterbox
from ops.image.resize import Resize

OPERATORS = {operator.op: operator for operator in (Letterbox, Resize, CenterCrop)}
PIXELS = PixelInput("images", 416, 320, "bgr24", "letterbox", "center", 114.0, (1, 2, 3), (4, 5, 6), "nhwc")
MODEL = ModelInfo("net", "1.0.0", Path("net.onnx"), "0" * 64, (("images", TensorSpec("float32", (1, 320, 416, 3))),), (), input=PIXELS)


@pytest.mark.parametrize(("fit", "op"), [("letterbox", "image.letterbox"), ("stretch", "image.resize"), ("crop", "image.center_crop")])
def test_the_step_makes_what_the_model_takes(fit, op):
    step = pixels_step(replace(MODEL, input=replace(PIXELS, fit=fit)))
    assert step.op == op
    assert step.inputs == {"image": "$image"}
    operator = OPERATORS[op](OPERATORS[op].Config(**step.config))
    assert operator.infer({"image": ImageSpec(640, 480, "yuv420p")})["tensors"].tensors == MODEL.inputs
    assert operator.config.tensor.mean == (1, 2, 3)


def test_letterbox_keeps_align_and_pad():
    assert pixels_step(MODEL).config | {"tensor": 0} == {"width": 416, "height": 320, "align": "center", "pad": 114.0, "tensor": 0}


def test_gray_models_take_one_number():
    step = pixels_step(replace(MODEL, input=replace(PIXELS, format="gray8")))
    assert Letterbox.Config(**step.config).tensor.mean == (1,)


def test_picture_and_resize_can_be_chosen():
    step = pixels_step(replace(MODEL, input=replace(PIXELS, fit="crop")), image="crops.image", resize=480)
    assert step.inputs == {"image": "crops.image"}
    assert step.config["resize"] == 480


@pytest.mark.parametrize("model", [None, replace(MODEL, input=None)])
def test_models_without_pixels_are_refused(model):
    with pytest.raises(SpecError, match="port model: expected a model with an image input"):
        pixels_step(model)
