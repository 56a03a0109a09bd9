"""Bias correction: takes the mean error that rounding its weights gives a layer's output out of its bias.

After section 4.2 of Nagel et al. 2019 (arXiv:1906.04721), with means that were measured: E[y'] - E[y] = (W' - W) E[x].
"""

from __future__ import annotations

import numpy as np

from devices.quantize.units import Layer
from devices.quantize.weights import StoredWeights


def shift_of(layer: Layer, real: np.ndarray, stored: StoredWeights, means: np.ndarray) -> np.ndarray:
    """The mean error [outputs], float64, for inputs with these means [channels]."""
    error = stored.real.astype(np.float64) - real
    if layer.axis == 1:
        return np.asarray(means @ error)
    outputs, each = error.shape[:2]
    summed = error.reshape(outputs, each, -1).sum(2)
    groups = np.repeat(means.reshape(layer.group, each), outputs // layer.group, axis=0)
    return np.asarray((summed * groups).sum(1))
