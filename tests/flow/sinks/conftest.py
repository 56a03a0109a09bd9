from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devices.spec import ImageSpec, RecordsSpec, Spec
from flow.plan.value import Ref, Sink
from flow.result import Result

DETECTIONS = RecordsSpec("detections", 10, ("cat", "dog"))


@pytest.fixture
def plan_of() -> Callable[..., Sink]:
    """A plan's sink for a target: `plan_of(target, spec=…)`."""

    def make(target: str | Path, spec: Spec = DETECTIONS) -> Sink:
        return Sink(1, "pet", "1.0.0", "pets", str(target), Ref("a", "out"), spec, "front", ("front",))

    return make


@pytest.fixture
def result() -> Callable[..., Result]:
    """A result: `result(seq, stream=…, …)`, 40 ms after the one before."""

    def make(seq: int, **more: Any) -> Result:
        values: dict[str, Any] = {
            "business": "pet", "version": "1.0.0", "output": "pets", "stream": "front", "seq": seq, "pts_ns": seq * 40_000_000,
            "time": None, "plan": "9f2c", "latency_ms": 31.2, "payload": {"detections": []},
        }  # fmt: skip
        return Result(**{**values, **more})

    return make


@pytest.fixture
def picture_spec() -> ImageSpec:
    return ImageSpec(64, 48, "bgr24")
