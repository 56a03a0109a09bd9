"""What was loaded: the businesses to run, the streams they are bound to, the models they were resolved to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from manifests.position import PYTHON, Position
from manifests.schema.business import Business
from manifests.schema.device import StreamManifest
from manifests.schema.model import Model

__all__ = ["Deployment", "Position", "ResolvedModel", "Use"]


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A Model manifest with its file found and hashed, and its labels read."""

    manifest: Model
    path: Path
    digest: str
    """sha256 of the file, hex."""
    labels: tuple[str, ...]
    position: Position


@dataclass(frozen=True, slots=True)
class Use:
    """One business as this device runs it: inputs bound to streams, models resolved, settings changed, every position kept.

    `positions` maps paths into the Business document (`graph.boxes.config.score`, `outputs.pets`) and, for changed settings,
    `set.boxes.score` to where they stand.
    """

    business: Business
    bind: Mapping[str, str]
    models: Mapping[str, ResolvedModel]
    set: Mapping[str, Any] = field(default_factory=dict)
    on_error: Literal["restart", "skip", "stop"] = "restart"
    position: Position = PYTHON
    positions: Mapping[str, Position] = field(default_factory=dict)

    def at(self, path: str) -> Position:
        """Where the value at this path stands, or the nearest value that encloses it."""
        while path and path not in self.positions:
            path = path.rpartition(".")[0]
        return self.positions.get(path, self.position)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything one plan is made of. `lock` maps `model/NAME` and `business/NAME` selectors to `version@digest`."""

    device: str
    streams: Mapping[str, StreamManifest]
    uses: tuple[Use, ...]
    stream_positions: Mapping[str, Position] = field(default_factory=dict)
    lock: Mapping[str, str] = field(default_factory=dict)
    base: Path = Path()
    """Folder that relative file sources of the Device manifest start from."""
    skipped: tuple[str, ...] = ()
    """Files of the given folders that do not mean to be manifests."""
