"""Hand landmarks from palms (Zhang et al. 2020, arXiv:2006.10214)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from devices.engine import ModelInfo
from ops.contract import Composite, Expansion, SpecError, Step, port
from ops.decode.common import Fraction


class Landmarks(Composite):
    """The 21 points of each hand, from a picture and the palms in it.

    A list of a frame, one item for each palm (its parent), the palms with the best scores first where there are more than `capacity`; a
    palm behind which the model sees no hand gives an empty item.
    """

    op = "hand.landmarks"
    inputs = {"image": port("image"), "detections": port("detections", doc="palms with seven points, as detect.palm gives them")}
    outputs = {"landmarks": port("landmarks", doc="a hand for each palm")}

    class Config(Composite.Config):
        """`score`: presence below which there is no hand. `capacity`: the most hands of a frame."""

        score: Fraction = 0.5
        capacity: Annotated[int, Field(ge=1, le=256)] = 4

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        from ops.image.fit import pixels_step

        if model is None:
            raise SpecError(port="model", expected="a model", got="none", hint="set `model:` on this node")
        pixels = pixels_step(model)
        crop = {key: pixels.config[key] for key in ("width", "height", "tensor")} | {"capacity": config.capacity}
        return Expansion(
            {
                "crop": Step("image.rotated_crop", {"image": "$image", "detections": "$detections"}, crop),
                "infer": Step("nn.infer", {"tensors": "crop.tensors"}, model=True),
                "decode": Step("decode.hand_landmarks", {"tensors": "infer.tensors"}, {"score": config.score}),
            },
            {"landmarks": "decode.landmarks"},
        )
