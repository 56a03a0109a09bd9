"""Runs one operator alone, with fresh memory for everything it emits: for tests of operators, your own included.

boxes = NMS(NMS.Config(iou=0.5))
kept = run(boxes, detections=found)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from devices.engine import ModelInfo, Session
from devices.spec import ImageSpec, TensorsSpec
from ops.contract import Operator
from ops.value import Frame, Image, Tensors

FRAME_NS = 40_000_000
"""Time between two frames of `frame`: 25 a second."""


class HeapContext:
    """A Context whose memory is fresh for every value and whose sessions are loaded when first asked for.

    Builds the kernels if this machine has none yet. `engine` names the engine of all sessions; `emitted` counts the values
    asked for, by (port, index).
    """

    def __init__(self, *, threads: int = 1, engine: str = "onnxruntime") -> None:
        import devices.kernels

        devices.kernels.ensure()
        self.threads = threads
        self.engine = engine
        self.emitted: dict[tuple[str, int], int] = {}
        self._sessions: dict[str, Session] = {}

    def session(self, model: ModelInfo) -> Session:
        if model.digest not in self._sessions:
            import devices

            self._sessions[model.digest] = devices.load(model, engine=self.engine, threads=self.threads)
        return self._sessions[model.digest]

    def image(self, port: str, spec: ImageSpec, index: int = 0) -> Image:
        self._count(port, index)
        return Image(spec, spec.split(np.empty(spec.nbytes, np.uint8)))

    def tensors(self, port: str, spec: TensorsSpec, index: int = 0) -> Tensors:
        self._count(port, index)
        return Tensors(spec.split(np.empty(spec.nbytes, np.uint8)))

    def close(self) -> None:
        """Closes the sessions that were loaded."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def _count(self, port: str, index: int) -> None:
        self.emitted[port, index] = self.emitted.get((port, index), 0) + 1


def frame(seq: int, stream: str = "test") -> Frame:
    """Frame number `seq` of a steady stream of 25 a second."""
    return Frame(stream, seq, seq * FRAME_NS)


def run(operator: Operator, at: Frame | int = 0, **inputs: Any) -> Any:
    """What the operator returns for one frame (`at`: the frame or its number). Opens it first if it is not open yet.

    A mapping with one value is returned as that value.
    """
    if not hasattr(operator, "context"):
        operator.open(HeapContext())
    result = operator.run(frame(at) if isinstance(at, int) else at, **inputs)
    if isinstance(result, dict) and len(result) == 1:
        return next(iter(result.values()))
    return result
