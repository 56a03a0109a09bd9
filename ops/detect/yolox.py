"""YOLOX (Ge et al. 2021, arXiv:2107.08430), exported with raw grid outputs."""

from __future__ import annotations

from ops.decode.common import Fraction
from ops.detect.chain import Detector


class Yolox(Detector):
    """Objects found by a YOLOX model."""

    op = "detect.yolox"
    decoder = "decode.yolox"

    class Config(Detector.Config):
        """As the model was published."""

        score: Fraction = 0.35
        iou: Fraction = 0.45
