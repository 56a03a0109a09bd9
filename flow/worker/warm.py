"""A model's first run, before frames come: its memory is touched and its code is there when the first one does."""

from __future__ import annotations

import contextlib

import numpy as np

from devices.engine import EngineError, Session


def warm(session: Session) -> None:
    """Runs it once, on nothing. One that cannot be run so is left to the first frame, which says what is wrong."""
    with contextlib.suppress(EngineError):
        session.run({name: np.zeros(spec.shape, spec.dtype) for name, spec in session.inputs.items()})
