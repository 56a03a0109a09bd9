"""UltraFace (github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB): boxes that the model has decoded itself."""

from __future__ import annotations

import numpy as np

from devices.spec import TensorsSpec
from ops.contract import Context, SpecError
from ops.decode.common import DetectionDecoder, Fraction
from ops.value import Frame, Records, Tensors


class UltraFace(DetectionDecoder):
    """UltraFace outputs, scores float32 (1, n, 2) and boxes float32 (1, n, 4) as parts of the picture, to detections of faces."""

    op = "decode.ultraface"
    labels = ("face",)

    class Config(DetectionDecoder.Config):
        """`score`: probability of a face, detections below are left out. `capacity`: the most detections of a frame."""

        score: Fraction = 0.7

    def check(self, outputs: TensorsSpec) -> None:
        _ = self.pixels
        shapes = sorted(spec.shape for _, spec in outputs.tensors)
        if (
            len(shapes) != 2
            or [len(shape) for shape in shapes] != [3, 3]
            or shapes[0][:2] != shapes[1][:2]
            or [s[2] for s in shapes] != [2, 4]
        ):
            raise SpecError(
                port="tensors",
                expected="scores float32[1 x n x 2] and boxes float32[1 x n x 4]",
                got=str(outputs),
                hint="take the UltraFace export with post-processing",
            )

    def open(self, context: Context) -> None:
        super().open(context)
        self._size = np.array((self.pixels.width, self.pixels.height) * 2, np.float32)

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        scores, boxes = sorted((array[0] for array in tensors.arrays.values()), key=lambda array: array.shape[-1])
        chosen = np.flatnonzero(scores[:, 1] >= self.config.score)
        if not len(chosen):
            return self.nothing()
        return self.emit(tensors.transform, boxes[chosen] * self._size, scores[chosen, 1], 0)
