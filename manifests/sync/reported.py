"""What a device says of itself: one document, known to both sides by its digest."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from manifests.bundle.canonical import encode
from manifests.schema.common import Strict
from manifests.sync.desired import DesiredBusiness, Item, Revision

Outcome = Literal["working", "done", "failed", "refused", "superseded"]
"""How it stands with a revision. `done`: proven and settled. `failed`: tried and gone back. `refused`: never tried."""

Code = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{0,64}$")]


class SignedMetadata(Strict):
    """What a device knows of what is signed: the version of the targets, when the first of the metadata expires, and when it last found,
    by its trusted time, that its cloud has no newer ones (None: it was given files alone).
    """

    targets: Revision
    expires: AwareDatetime
    checked: AwareDatetime | None = None


class Reported(Strict):
    """What runs and what is stored, and what the hardware has left. `about` describes the hardware: board, cores, engines."""

    revision: Revision = 0
    """The newest revision that is settled."""
    reset_epoch: Revision = 0
    hold: bool = False
    """It was reset, and takes nothing but a newer revision: also by hand, which the cloud learns from this alone."""
    active: Annotated[tuple[DesiredBusiness, ...], Field(max_length=256)] = ()
    document: Item | None = None
    """The signed Device document that declares its streams; None: its own file, or the factory's."""
    stored: Annotated[tuple[Item, ...], Field(max_length=1024)] = ()
    """Everything that could be activated without a download."""
    ram_bytes: Annotated[int, Field(ge=0)] = 0
    """Memory free for one more release beside what runs."""
    disk_bytes: Annotated[int, Field(ge=0)] = 0
    """Space free in the store."""
    about: Annotated[dict[str, Any], Field(max_length=64)] = Field(default={})
    metadata: SignedMetadata | None = None
    problems: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=32)] = ()

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical form."""
        return hashlib.sha256(encode(self.model_dump(mode="json"))).hexdigest()


class Transition(Strict):
    """One step of the update machine with a revision. `state` is the machine's own word, `outcome` what it means to a rollout."""

    revision: Revision
    outcome: Outcome
    state: Code
    at: AwareDatetime
    code: Code = ""
    """What kind of failure: `fetch.digest`, `admit.memory`, `trust.withdrawn`."""
    detail: Annotated[str, Field(max_length=4096)] = ""
    evidence: Annotated[dict[str, Any], Field(max_length=64)] = Field(default={})
    """Figures of a switch, of a verification, of probation."""
