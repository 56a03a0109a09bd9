"""The sink contract: where results go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from flow.plan.value import Sink as SinkPlan
from flow.result import Result
from ops.value import Image


class SinkError(Exception):
    """A sink that cannot be opened or written: says which target, expected, got and what to do next."""


class SinkClosedError(SinkError):
    """Who read the target went away (`| head`): nothing more can be written, and nothing is wrong with the run."""


class Sink(Protocol):
    """One kind of sink, chosen by its target: a suffix (`.jsonl`), a scheme (`zmq:`) or `-`."""

    targets: ClassVar[tuple[str, ...]]
    """The targets it serves: suffixes (`.jsonl`), schemes (`zmq:`) or `-`; the names of its entry points in `ace.sinks`."""

    wants: str
    """`result` (a Result a frame) or `picture` (the annotated Image)."""

    lasting: ClassVar[bool]
    """Whether what `write` has written stays written when the worker dies right after; then its successor does not write it again.
    False where a sink does not say."""

    @classmethod
    def check(cls, target: str) -> None:
        """Refuses a target that can never work (no permission, no folder) before anything starts. Raises SinkError."""
        ...

    def __init__(self, plan: SinkPlan, fps: float) -> None: ...

    def open(self, *, resume: bool) -> Mapping[str, int]:
        """Opens the target; `resume`: go on after what an earlier, dead worker wrote. Returns the last seq written per stream."""
        ...

    def write(self, result: Result, picture: Image | None) -> None:
        """One frame. Raises SinkError. `picture` is the drawn picture, or the image value of an image output (None: records)."""
        ...

    def close(self) -> None:
        """Completes the target."""
        ...
