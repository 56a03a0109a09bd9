"""FastestDet (github.com/dog-qiuqiu/FastestDet)."""

from __future__ import annotations

from ops.decode.common import Fraction
from ops.detect.chain import Detector


class FastestDet(Detector):
    """Objects found by a FastestDet model."""

    op = "detect.fastestdet"
    decoder = "decode.fastestdet"

    class Config(Detector.Config):
        """As the model was published."""

        score: Fraction = 0.5
        iou: Fraction = 0.45
