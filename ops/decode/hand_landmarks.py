"""MediaPipe hand landmarks (Zhang et al. 2020, arXiv:2006.10214)."""

from __future__ import annotations

import numpy as np

from devices.spec import RecordsSpec, Spec, Specs
from ops.contract import Operator, SpecError, port
from ops.decode.common import Fraction, tensors
from ops.value import Frame, Records, Tensors

POINTS = 21


class HandLandmarks(Operator):
    """Outputs of the hand landmark model (63 values, presence, handedness, and 63 world values that are not used) to one hand.

    21 points (x, y, z): x and y in pixels of the source frame; z relative to the wrist, in the same scale, smaller is nearer to the
    camera. `score` is the presence of a hand, `handedness` the probability that it is a right one (of the hand itself, not its mirror
    image). A crop without a hand gives no record.
    """

    op = "decode.hand_landmarks"
    inputs = {"tensors": port("tensors", doc="outputs of the model for one crop")}
    outputs = {"landmarks": port("landmarks", doc="one hand, or none")}

    class Config(Operator.Config):
        """`score`: presence below which there is no hand."""

        score: Fraction = 0.5

    _spec = RecordsSpec("landmarks", 1, (), POINTS)
    _dtype = _spec.dtype

    def infer(self, specs: Specs) -> dict[str, Spec]:
        shapes = [spec.shape for _, spec in tensors(specs["tensors"], "tensors").tensors]
        if shapes[:3] != [(1, 3 * POINTS), (1, 1), (1, 1)]:
            raise SpecError(
                port="tensors",
                expected="float32[1x63], float32[1x1], float32[1x1] first, as the hand landmark model has them",
                got=str(specs["tensors"]),
            )
        return {"landmarks": self._spec}

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        values, presence, handedness = (array.reshape(-1) for array in list(tensors.arrays.values())[:3])
        if not presence[0] >= self.config.score or not np.isfinite(values).all():
            return np.empty(0, self._dtype)
        points = values.reshape(POINTS, 3)
        hand = np.empty(1, self._dtype)
        linear = tensors.transform[:, :2]
        hand["points"][0, :, :2] = points[:, :2] @ linear.T + tensors.transform[:, 2]
        hand["points"][0, :, 2] = points[:, 2] * np.sqrt(abs(np.linalg.det(linear)))
        hand["score"], hand["handedness"] = presence[0], handedness[0]
        return hand
