from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.engine import ModelInfo, PixelInput
from devices.spec import RecordsSpec, TensorSpec, TensorsSpec


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ModelInfo]:
    """A ModelInfo from arrays like its outputs, its pixels and labels."""

    def make(outputs: Mapping[str, np.ndarray] | None = None, pixels: PixelInput | None = None, labels: Sequence[str] = ()) -> ModelInfo:
        specs = tuple((name, TensorSpec(array.dtype.name, array.shape)) for name, array in (outputs or {}).items())
        return ModelInfo("model", "1.0.0", Path("model.onnx"), "0", (("input", TensorSpec("float32", (1,))),), specs, tuple(labels), pixels)

    return make


@pytest.fixture(scope="session")
def as_specs() -> Callable[[Mapping[str, np.ndarray]], dict[str, TensorsSpec]]:
    """The specs of a `tensors` port that carries these arrays."""
    return lambda arrays: {"tensors": TensorsSpec(tuple((n, TensorSpec(a.dtype.name, a.shape)) for n, a in arrays.items()))}


@pytest.fixture(scope="session")
def boxes() -> Callable[..., np.ndarray]:
    """Detections from rows (x1, y1, x2, y2, score[, class_id[, track]])."""

    def make(*rows: Sequence[Any]) -> np.ndarray:
        found = np.zeros(len(rows), RecordsSpec("detections", 1).dtype)
        for record, row in zip(found, rows, strict=True):
            record["box"] = row[:4]
            record["score"], record["class_id"], record["track"] = (*row[4:], *(0, -1)[len(row) - 5 :])
        return found

    return make
