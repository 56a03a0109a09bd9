"""MediaPipe palm detection (Zhang et al. 2020, arXiv:2006.10214): palms with seven key points."""

from __future__ import annotations

import math

import numpy as np

from devices.spec import TensorsSpec
from ops.contract import Context, SpecError
from ops.decode.common import DetectionDecoder, grid
from ops.value import Frame, Records, Tensors

ANCHORS = ((8, 2), (16, 6))
"""(stride, anchors a cell): 24 x 24 x 2 and 12 x 12 x 6 at the model's 192 x 192."""


class Palm(DetectionDecoder):
    """Outputs of the palm model, float32 (1, n, 18) and logits (1, n, 1), to detections of palms.

    A row is a box (centre offset, size) and seven points (offsets), in model pixels from the centre of its anchor. Points: wrist, bases
    of index, middle, ring and little finger, two of the thumb.
    """

    op = "decode.palm"
    labels = ("palm",)
    points = 7

    def check(self, outputs: TensorsSpec) -> None:
        width, height = self.pixels.width, self.pixels.height
        count = sum((width // stride) * (height // stride) * repeats for stride, repeats in ANCHORS)
        shapes = sorted((spec.shape for _, spec in outputs.tensors), key=lambda shape: shape[-1])
        if shapes != [(1, count, 1), (1, count, 18)]:
            raise SpecError(
                port="tensors",
                expected=f"float32[1x{count}x18] and float32[1x{count}x1], as the palm model has them at {width}x{height}",
                got=str(outputs),
            )

    def open(self, context: Context) -> None:
        super().open(context)
        self._anchors = np.concatenate(
            [np.repeat((grid(self.pixels.width, self.pixels.height, stride) + 0.5) * stride, repeats, 0) for stride, repeats in ANCHORS]
        ).astype(np.float32)
        score = self.config.score
        self._least = math.log(score / (1 - score)) if 0 < score < 1 else (-math.inf if score == 0 else math.inf)

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        logits, values = sorted((array[0] for array in tensors.arrays.values()), key=lambda array: array.shape[-1])
        chosen = np.flatnonzero(logits[:, 0] >= self._least)
        if not len(chosen):
            return self.nothing()
        rows, anchors = values[chosen], self._anchors[chosen]
        centre, half = rows[:, :2] + anchors, rows[:, 2:4] / 2
        scores = 1 / (1 + np.exp(-np.clip(logits[chosen, 0], -80, 80)))
        points = rows[:, 4:].reshape(-1, 7, 2) + anchors[:, None]
        return self.emit(tensors.transform, np.concatenate([centre - half, centre + half], 1), scores, 0, points)
