"""FastestDet (github.com/dog-qiuqiu/FastestDet): one box a cell of a single grid."""

from __future__ import annotations

import numpy as np

from devices.spec import TensorsSpec
from ops.contract import Context, SpecError
from ops.decode.common import DetectionDecoder, check_labels, only
from ops.value import Frame, Records, Tensors


class FastestDet(DetectionDecoder):
    """FastestDet output float32 (1, 5 + classes, rows, columns) to detections.

    A cell holds objectness, two offsets (tanh, in cells), two logits of the size (sigmoid, as part of the picture), class scores. The
    score is objectness^0.6 x class^0.4.
    """

    op = "decode.fastestdet"

    def check(self, outputs: TensorsSpec) -> None:
        _ = self.pixels
        expected = "float32[1x(5 + classes) x rows x columns], the grid of FastestDet"
        spec = only(outputs, expected)
        if len(spec.shape) != 4 or spec.shape[0] != 1 or spec.shape[1] < 6:
            raise SpecError(port="tensors", expected=expected, got=str(spec))
        check_labels(spec.shape[1] - 5, self.spec.labels, str(spec))

    def open(self, context: Context) -> None:
        super().open(context)
        self._size = np.array((self.pixels.width, self.pixels.height), np.float32)
        self._least = self.config.score ** (1 / 0.6)  # of objectness, since class scores are at most 1

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        output = next(iter(tensors.arrays.values()))[0]
        rows, columns = output.shape[1:]
        cells = output.reshape(len(output), -1)
        chosen = np.flatnonzero(cells[0] >= self._least)
        if not len(chosen):
            return self.nothing()
        cells = cells[:, chosen]
        class_ids = cells[5:].argmax(0)
        best = cells[5 + class_ids, np.arange(len(chosen))]
        with np.errstate(over="ignore", invalid="ignore"):
            scores = cells[0] ** 0.6 * np.maximum(best, 0) ** 0.4
            good = scores >= self.config.score
            chosen, cells, class_ids, scores = chosen[good], cells[:, good], class_ids[good], scores[good]
            corner = np.stack([chosen % columns, chosen // columns], 1) + np.tanh(cells[1:3].T)
            centre = corner / np.array((columns, rows), np.float32) * self._size
            half = self._size / (2 + 2 * np.exp(-cells[3:5].T))
            boxes = np.concatenate([centre - half, centre + half], 1)
        return self.emit(tensors.transform, boxes, scores, class_ids)
