"""The chain that every detector stands for: pixels -> inference -> decoding -> suppression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from devices.engine import ModelInfo
from ops.contract import Composite, Expansion, SpecError, Step, port
from ops.decode.common import Capacity, Fraction


class Detector(Composite):
    """Base of the detectors: the chain with one decoder.

    Only decoding and suppression depend on the settings, so businesses with other thresholds and classes share one inference.
    """

    inputs = {"image": port("image")}
    outputs = {"detections": port("detections", doc="best first, in pixels of the source frame")}
    decoder = ""

    class Config(Composite.Config):
        """`score`: detections below are left out. `iou`: overlap allowed between two kept boxes. `classes`: names of the classes kept
        (empty: all). `per_class`: only boxes of one class suppress each other. `max`: the most detections of a frame. `capacity`: the most
        before suppression. A tracker that uses weak detections (`track.byte`) wants a `score` as low as its own `low`."""

        score: Fraction = 0.5
        iou: Fraction = 0.45
        classes: frozenset[str] = frozenset()
        per_class: bool = True
        max: Annotated[int, Field(ge=1, le=1024)] = 100
        capacity: Capacity = 256

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        decode = {"score": config.score, "capacity": config.capacity}
        nms = {"iou": config.iou, "per_class": config.per_class, "classes": config.classes, "max": config.max}
        return Expansion(
            {
                **inference(model),
                "decode": Step(cls.decoder, {"tensors": "infer.tensors"}, decode, model=True),
                "nms": Step("boxes.nms", {"detections": "decode.detections"}, nms),
            },
            {"detections": "nms.detections"},
        )


def inference(model: ModelInfo | None) -> Mapping[str, Step]:
    """The two steps from `$image` to a model's outputs: `letterbox` (or how else the model wants its pixels), `infer`."""
    from ops.image.fit import pixels_step

    if model is None:
        raise SpecError(port="model", expected="a model", got="none", hint="set `model:` on this node")
    return {"letterbox": pixels_step(model), "infer": Step("nn.infer", {"tensors": "letterbox.tensors"}, model=True)}
