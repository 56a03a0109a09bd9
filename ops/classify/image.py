"""Classification of whole pictures."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from devices.engine import ModelInfo
from ops.contract import Composite, Expansion, Step, port
from ops.decode.common import Fraction
from ops.detect.chain import inference


class ClassifyImage(Composite):
    """The best classes of a picture, by any classifier that gives one score a class."""

    op = "classify.image"
    inputs = {"image": port("image")}
    outputs = {"classes": port("classes", doc="best first")}

    class Config(Composite.Config):
        """`k`: how many classes. `softmax`: the model gives logits, which softmax makes probabilities. `score`: classes below are left
        out."""

        k: Annotated[int, Field(ge=1, le=1000)] = 5
        softmax: bool = True
        score: Fraction = 0.0

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        topk = Step("classify.topk", {"tensors": "infer.tensors"}, config.model_dump(), model=True)
        return Expansion({**inference(model), "topk": topk}, {"classes": "topk.classes"})
