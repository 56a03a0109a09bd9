"""MediaPipe palm detection (Zhang et al. 2020, arXiv:2006.10214)."""

from __future__ import annotations

from ops.decode.common import Fraction
from ops.detect.chain import Detector


class Palm(Detector):
    """Palms with seven key points found by the MediaPipe palm model: what `hand.landmarks` starts from."""

    op = "detect.palm"
    decoder = "decode.palm"

    class Config(Detector.Config):
        """As the model was published."""

        score: Fraction = 0.5
        iou: Fraction = 0.3
