"""The Kalman filter of SORT's family (Bewley et al. 2016, arXiv:1602.00763; Wojke et al. 2017, arXiv:1703.07402) over many tracks at once.

State: centre x, centre y, aspect (width / height), height, each with a velocity a frame. All noises are diagonal and a velocity drives its
own coordinate only, so the 8 x 8 covariance is four 2 x 2 blocks, kept as `pp`, `pv`, `vv` of each coordinate: the exact filter without
matrices.
"""

from __future__ import annotations

import numpy as np

FIELDS: list[tuple[str, str, tuple[int, ...]]] = [(name, "<f8", (4,)) for name in ("position", "velocity", "pp", "pv", "vv")]
"""Fields of a structured track array that `start`, `predict` and `update` work on."""

POSITION = 1 / 20
VELOCITY = 1 / 160
"""Standard deviations relative to the height of the box."""


def measure(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) x1 y1 x2 y2 as measurements (n, 4): centre x, centre y, aspect, height. Heights are at least a hundredth of a pixel."""
    boxes = np.asarray(boxes, np.float64)
    result = np.empty_like(boxes)
    result[:, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
    result[:, 3] = np.maximum(boxes[:, 3] - boxes[:, 1], 0.01)
    result[:, 2] = np.maximum(boxes[:, 2] - boxes[:, 0], 0.01) / result[:, 3]
    return result


def boxes(tracks: np.ndarray) -> np.ndarray:
    """Where the tracks are: boxes float64 (n, 4) x1 y1 x2 y2."""
    position = tracks["position"]
    half = np.stack([position[:, 2] * position[:, 3], position[:, 3]], 1) / 2
    return np.concatenate([position[:, :2] - half, position[:, :2] + half], 1)


def start(tracks: np.ndarray, measured: np.ndarray) -> None:
    """Begins tracks (n,) at measurements (n, 4), at rest."""
    tracks["position"], tracks["velocity"], tracks["pv"] = measured, 0.0, 0.0
    tracks["pp"] = _noise(measured, 2 * POSITION, 1e-2)
    tracks["vv"] = _noise(measured, 10 * VELOCITY, 1e-5)


def predict(tracks: np.ndarray) -> None:
    """Moves the tracks one frame on."""
    position = tracks["position"]
    place, speed = _noise(position, POSITION, 1e-2), _noise(position, VELOCITY, 1e-5)
    tracks["position"] += tracks["velocity"]
    tracks["pp"] += 2 * tracks["pv"] + tracks["vv"] + place
    tracks["pv"] += tracks["vv"]
    tracks["vv"] += speed


def update(tracks: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The tracks (n,) corrected by measurements (n, 4), as a new array."""
    tracks = tracks.copy()
    total = tracks["pp"] + _noise(tracks["position"], POSITION, 1e-1)
    gain, drift = tracks["pp"] / total, tracks["pv"] / total
    surprise = measured - tracks["position"]
    tracks["position"] += gain * surprise
    tracks["velocity"] += drift * surprise
    tracks["vv"] -= drift * tracks["pv"]
    tracks["pv"] *= 1 - gain
    tracks["pp"] *= 1 - gain
    return tracks


def _noise(position: np.ndarray, relative: float, aspect: float) -> np.ndarray:
    """Variances (n, 4): lengths by the height, the aspect by a constant."""
    deviation = np.repeat(relative * position[:, 3:4], 4, axis=1)
    deviation[:, 2] = aspect
    return np.asarray(np.square(deviation))
