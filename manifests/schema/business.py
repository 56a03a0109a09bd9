"""The Business manifest: the streams, models, operators and outputs of one algorithm business."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from manifests.schema.common import Manifest, Name, Selector, Strict, Version

Percent = Annotated[int, Field(ge=0, le=100)]


class NodeManifest(Strict):
    """An operator, what it reads, how it is set."""

    op: Annotated[str, Field(min_length=1, max_length=128)]
    inputs: dict[str, str] = Field(default={}, alias="in")
    """port: a business input, a node, or `node.port`."""
    model: str | None = None
    """A name from the business's `models`."""
    config: dict[str, Any] = Field(default={})
    deadline_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    """How long one frame may take in this node before its worker counts as stalled."""


class Goals(Strict):
    """What the business wants: shown in plans, and beside what a run reached. Goals never drop a frame."""

    rate: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Results a second."""
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """From capture to result."""


Setting = int | float | str | bool


class Tunable(Strict):
    """What a setting may be changed to online, without a new bundle: a number within bounds (both included), or one of some choices."""

    min: float | None = None
    max: float | None = None
    choices: Annotated[tuple[Setting, ...], Field(max_length=256)] = ()

    @model_validator(mode="after")
    def bounds_or_choices(self) -> Tunable:
        """Either `choices`, or `min` and `max`."""
        bounds = self.min is not None and self.max is not None and self.min <= self.max
        if bounds == bool(self.choices) or (self.choices and (self.min is not None or self.max is not None)):
            raise PydanticCustomError("expected", "expected {expected}", {"expected": "`min` and a `max` not below it, or `choices`"})
        return self

    def takes(self, value: Any) -> bool:
        """Whether the setting may have this value. True and 1 are different values."""
        if self.choices:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        assert self.min is not None
        assert self.max is not None
        return isinstance(value, int | float) and not isinstance(value, bool) and self.min <= value <= self.max

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.choices))}" if self.choices else f"a number from {self.min:g} to {self.max:g}"


class Business(Manifest):
    """One algorithm business, declared and not programmed."""

    kind: Literal["Business"] = "Business"
    name: Name
    version: Version
    title: str = ""
    priority: Percent = 50
    """Who keeps its rate where the device is short: workers of less important businesses step back for those of the most important."""
    inputs: dict[Name, Literal["image"]]
    models: dict[Name, Selector] = Field(default={})
    graph: Annotated[dict[Name, NodeManifest], Field(min_length=1, max_length=512)]
    outputs: Annotated[dict[Name, str], Field(min_length=1, max_length=64)]
    """name: node, or node.port."""
    goals: Goals = Goals()
    tunable: Annotated[dict[str, Tunable], Field(max_length=256)] = Field(default={})
    """`node.key`: what the cloud may set it to; it may set nothing else."""
