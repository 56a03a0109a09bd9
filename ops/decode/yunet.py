"""YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y): faces with five key points on grids of stride 8, 16 and 32."""

from __future__ import annotations

import numpy as np

from devices.spec import TensorsSpec
from ops.contract import Context, SpecError
from ops.decode.common import DetectionDecoder, Fraction, grid
from ops.value import Frame, Records, Tensors

STRIDES = (8, 16, 32)
PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class YuNet(DetectionDecoder):
    """The twelve outputs of YuNet (`cls_8` … `kps_32`, float32 (1, cells, 1 | 1 | 4 | 10)) to detections of faces.

    The score is sqrt(class x objectness). Points: right eye, left eye, nose tip, right and left corner of the mouth.
    """

    op = "decode.yunet"
    labels = ("face",)
    points = 5

    class Config(DetectionDecoder.Config):
        """`score`: sqrt(class x objectness), detections below are left out. `capacity`: the most detections of a frame."""

        score: Fraction = 0.7

    def check(self, outputs: TensorsSpec) -> None:
        width, height = self.pixels.width, self.pixels.height
        found = {name: spec.shape for name, spec in outputs.tensors}
        for stride in STRIDES:
            cells = (width // stride) * (height // stride)
            for part, size in PARTS.items():
                if found.get(f"{part}_{stride}") != (1, cells, size):
                    raise SpecError(
                        port="tensors",
                        expected=f"{part}_{stride}: float32[1x{cells}x{size}], as YuNet has it at {width}x{height}",
                        got=str(outputs),
                    )

    def open(self, context: Context) -> None:
        super().open(context)
        self._cells = [grid(self.pixels.width, self.pixels.height, stride) for stride in STRIDES]

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        arrays, boxes, points, scores = tensors.arrays, [], [], []
        for stride, cells in zip(STRIDES, self._cells, strict=True):
            product = arrays[f"cls_{stride}"][0, :, 0] * arrays[f"obj_{stride}"][0, :, 0]
            chosen = np.flatnonzero(product >= self.config.score**2)
            if not len(chosen):
                continue
            corner = cells[chosen]
            box = arrays[f"bbox_{stride}"][0, chosen]
            with np.errstate(over="ignore", invalid="ignore"):
                centre = (corner + box[:, :2]) * stride
                half = np.exp(box[:, 2:]) * (stride / 2)
                boxes.append(np.concatenate([centre - half, centre + half], 1))
            points.append((arrays[f"kps_{stride}"][0, chosen].reshape(-1, 5, 2) + corner[:, None]) * stride)
            scores.append(np.minimum(np.sqrt(product[chosen]), 1))
        if not boxes:
            return self.nothing()
        return self.emit(tensors.transform, np.concatenate(boxes), np.concatenate(scores), 0, np.concatenate(points))
