"""YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y)."""

from __future__ import annotations

from ops.decode.common import Fraction
from ops.detect.chain import Detector


class YuNet(Detector):
    """Faces with five key points found by a YuNet model."""

    op = "detect.yunet"
    decoder = "decode.yunet"

    class Config(Detector.Config):
        """As the model was published."""

        score: Fraction = 0.7
        iou: Fraction = 0.4
