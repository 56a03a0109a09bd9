"""How long results cease where two releases do not fit side by side: one estimate, which a device's engine and its cloud share."""

from __future__ import annotations

START_S = 1.0
LOAD_BYTES_S = 50e6
"""Estimates: how long a worker takes to start, and how fast a model is loaded."""


def gap_s(model_bytes: int) -> float:
    """Seconds from the end of the old release to the first result of one that loads model files of so many bytes."""
    return START_S + model_bytes / LOAD_BYTES_S
