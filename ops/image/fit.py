from __future__ import annotations

from typing import Any

from devices.engine import ModelInfo
from ops.contract import SpecError, Step


def pixels_step(model: ModelInfo | None, *, image: str = "$image", resize: int | None = None) -> Step:
    """The node that turns a picture into what the model's manifest asks for; its output is `tensors`.

    `image` is the reference of the picture. `resize` is the shorter side before the crop, for models with `fit: crop`. Raises SpecError
    (port `model`) when there is no model or its manifest says nothing of pixels.
    """
    if model is None or model.input is None:
        got = "no model" if model is None else f"{model.name} without one"
        raise SpecError(port="model", expected="a model with an image input", got=got, hint="give its manifest an `input:` section")
    pixels = model.input
    channels = 1 if pixels.format == "gray8" else 3
    config: dict[str, Any] = {
        "width": pixels.width,
        "height": pixels.height,
        "tensor": {
            "name": pixels.tensor,
            "format": pixels.format,
            "mean": pixels.mean[:channels],
            "std": pixels.std[:channels],
            "layout": pixels.layout,
            "dtype": pixels.dtype,
        },
    }
    match pixels.fit:
        case "letterbox":
            op = "image.letterbox"
            config |= {"align": pixels.align, "pad": pixels.pad}
        case "stretch":
            op = "image.resize"
        case "crop":
            op = "image.center_crop"
            config |= {"resize": resize} if resize else {}
        case fit:
            raise SpecError(port="model", expected="fit letterbox, stretch or crop", got=fit)
    return Step(op=op, inputs={"image": image}, config=config)
