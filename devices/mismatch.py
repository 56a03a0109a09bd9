"""What engines say of arrays that are not what a model's signature says: expected, got, where, nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from devices.engine import EngineError
from devices.spec import TensorSpec


def other_names(session: str, role: str, got: Mapping[str, Any], expected: Mapping[str, TensorSpec]) -> EngineError:
    """Names that are no `role` (inputs, outputs) of this session's model, or that are missing."""
    hints = [f"did you mean {near[0]!r} for {name!r}?" for name in got if name not in expected
             if (near := difflib.get_close_matches(name, expected, 1))]  # fmt: skip
    listed = ", ".join(f"{name}: {spec}" for name, spec in expected.items())
    return EngineError(f"{session}: {role}: expected {{{listed}}}, got {{{', '.join(got)}}}" + "".join(f"; {hint}" for hint in hints))


def other_array(session: str, where: str, got: Any, expected: TensorSpec) -> EngineError:
    """An array of another shape or dtype, or no array."""
    seen = TensorSpec(got.dtype.name, got.shape) if isinstance(got, np.ndarray) else type(got).__name__
    hint = "; use .astype" if isinstance(got, np.ndarray) and got.shape == expected.shape else ""
    return EngineError(f"{session}: {where}: expected {expected}, got {seen}{hint}")
