"""Gestures from hand landmarks (github.com/Kazuhito00/hand-gesture-recognition-using-mediapipe)."""

from __future__ import annotations

from typing import Any

from devices.engine import ModelInfo
from ops.contract import Composite, Expansion, Step, port


class Gesture(Composite):
    """The class of each hand, by a model that takes 42 normalised coordinates and answers with a class id."""

    op = "hand.gesture"
    inputs = {"landmarks": port("landmarks", doc="hands, as hand.landmarks gives them")}
    outputs = {"classes": port("classes", doc="a class for each hand")}

    @classmethod
    def expand(cls, config: Any, model: ModelInfo | None) -> Expansion:
        tensor = model.inputs[0][0] if model and model.inputs else "input"
        return Expansion(
            {
                "features": Step("hand.features", {"landmarks": "$landmarks"}, {"tensor": tensor}),
                "infer": Step("nn.infer", {"tensors": "features.tensors"}, model=True),
                "decode": Step("decode.class_ids", {"tensors": "infer.tensors"}, model=True),
            },
            {"classes": "decode.classes"},
        )
