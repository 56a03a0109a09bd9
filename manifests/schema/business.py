"""The Business manifest: the streams, models, operators and outputs of one algorithm business."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

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
