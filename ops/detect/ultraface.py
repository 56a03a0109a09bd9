"""UltraFace (github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB), exported with post-processing."""

from __future__ import annotations

from ops.decode.common import Fraction
from ops.detect.chain import Detector


class UltraFace(Detector):
    """Faces found by an UltraFace model."""

    op = "detect.ultraface"
    decoder = "decode.ultraface"

    class Config(Detector.Config):
        """As the model was published."""

        score: Fraction = 0.7
        iou: Fraction = 0.35
