"""What the keypoint classifier sees of a hand (github.com/Kazuhito00/hand-gesture-recognition-using-mediapipe)."""

from __future__ import annotations

import numpy as np

from devices.spec import Spec, Specs, TensorSpec, TensorsSpec
from ops.contract import Operator, SpecError, port, records
from ops.value import Frame, Records, Tensors


class Features(Operator):
    """The points of one hand, x and y relative to the wrist over the largest absolute value: float32 (1, 2 x points) in -1..1.

    Neither place nor size of the hand matters, its turn does. A hand that is not there (no record) gives no result.
    """

    op = "hand.features"
    inputs = {"landmarks": port("landmarks", doc="one hand")}
    outputs = {"tensors": port("tensors")}

    class Config(Operator.Config):
        """`tensor`: name of the tensor, as the model calls its input."""

        tensor: str = "input"

    _spec: TensorsSpec

    def infer(self, specs: Specs) -> dict[str, Spec]:
        spec = records(specs["landmarks"], "landmarks", "landmarks")
        if spec.capacity != 1:
            raise SpecError(port="landmarks", expected="one hand a value", got=str(spec), hint="take them from hand.landmarks")
        self._spec = TensorsSpec(((self.config.tensor, TensorSpec("float32", (1, 2 * spec.points))),))
        return {"tensors": self._spec}

    def run(self, frame: Frame, *, landmarks: Records) -> Tensors | None:
        if not len(landmarks):
            return None
        points = landmarks["points"][0, :, :2].astype(np.float64)
        relative = (points - points[0]).reshape(1, -1)
        tensors = self.context.tensors("tensors", self._spec)
        tensors.arrays[self.config.tensor][:] = relative / max(np.abs(relative).max(), 1e-9)
        return tensors
