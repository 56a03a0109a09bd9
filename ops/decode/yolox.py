"""YOLOX (Ge et al. 2021, arXiv:2107.08430): anchor-free boxes on grids of stride 8, 16 and 32."""

from __future__ import annotations

import numpy as np

from devices.spec import TensorsSpec
from ops.contract import Context, SpecError
from ops.decode.common import DetectionDecoder, Fraction, check_labels, grid, only
from ops.value import Frame, Records, Tensors

STRIDES = (8, 16, 32)


class Yolox(DetectionDecoder):
    """Raw YOLOX output float32 (1, cells, 5 + classes) to detections.

    A row is (x, y, log w, log h) in cells, objectness, class scores. The score is objectness x best class. Raises SpecError when
    the number of cells does not fit the model's input size.
    """

    op = "decode.yolox"

    class Config(DetectionDecoder.Config):
        """`score`: objectness x class, detections below are left out. `capacity`: the most detections of a frame."""

        score: Fraction = 0.35

    def check(self, outputs: TensorsSpec) -> None:
        width, height = self.pixels.width, self.pixels.height
        cells = sum((width // stride) * (height // stride) for stride in STRIDES)
        expected = f"float32[1x{cells}x(5 + classes)], the raw grids of YOLOX at {width}x{height}"
        spec = only(outputs, expected)
        if len(spec.shape) != 3 or spec.shape[:2] != (1, cells) or spec.shape[2] < 6:
            raise SpecError(port="tensors", expected=expected, got=str(spec))
        check_labels(spec.shape[2] - 5, self.spec.labels, str(spec))

    def open(self, context: Context) -> None:
        super().open(context)
        grids = [grid(self.pixels.width, self.pixels.height, stride) for stride in STRIDES]
        self._cells = np.concatenate(grids)
        self._strides = np.repeat(np.array(STRIDES, np.float32), [len(cells) for cells in grids])[:, None]

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        output = next(iter(tensors.arrays.values()))[0]
        chosen = np.flatnonzero(output[:, 4] >= self.config.score)  # class scores are at most 1
        if not len(chosen):
            return self.nothing()
        rows = output[chosen]
        class_ids = rows[:, 5:].argmax(1)
        scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_ids]
        good = scores >= self.config.score
        chosen, rows, class_ids, scores = chosen[good], rows[good], class_ids[good], scores[good]
        strides = self._strides[chosen]
        with np.errstate(over="ignore", invalid="ignore"):
            centre = (rows[:, :2] + self._cells[chosen]) * strides
            half = np.exp(rows[:, 2:4]) * (strides / 2)
            boxes = np.concatenate([centre - half, centre + half], 1)
        return self.emit(tensors.transform, boxes, scores, class_ids)
