"""The desired state of one device: what the cloud wants it to run.

The four verbs are edits of this document; only its newest revision counts.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from manifests.schema.common import Name, Strict

DIGEST = r"^[0-9a-f]{64}$"

ANY_DEVICE = "*"
"""As `device` of a desired state in a signed file: every device that trusts its key."""

Digest = Annotated[str, Field(pattern=DIGEST)]
Revision = Annotated[int, Field(ge=0, lt=1 << 53)]


class Item(Strict):
    """One model, business, device document or golden clip of exactly one content. `digest` is the sha256 of its canonical item document."""

    kind: Literal["model", "business", "device", "golden"]
    name: Name
    version: Annotated[str, Field(max_length=64)]
    digest: Digest

    @property
    def selector(self) -> str:
        """As people write it: `model/yolox-nano@1.0.0`."""
        return f"{self.kind}/{self.name}@{self.version}"


class DesiredBusiness(Strict):
    """A business with the models it is to use, resolved: a device never resolves. `set` may only change what its bundle marks tunable."""

    business: Item
    models: Annotated[dict[Name, Item], Field(max_length=64)] = Field(default={})
    """alias in the business: model."""
    golden: Item | None = None
    """The clip that this business with these models must give the expected results for before it is activated."""
    set: Annotated[dict[str, Any], Field(max_length=256)] = Field(default={})
    enabled: bool = True


class Shadow(Strict):
    """A condition of a change: it runs beside what it is to replace first, for so many `seconds`, on a `share` of the frames, for at most
    `cpu` of a core. What it changes must come to these figures, or nothing is switched.
    """

    share: Annotated[float, Field(ge=0.001, le=1)] = 0.1
    cpu: Annotated[float, Field(gt=0, le=64)] = 0.25
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    frames: Annotated[int, Field(ge=1)] = 20
    """So many must have been compared, of every output that changes."""
    agreement: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Mean over the frames compared: F1 of boxes, landmarks and points that pair, share of equal classes and events."""
    latency: Annotated[float, Field(gt=0, le=1000)] | None = None
    """At most so many times the median latency of what runs."""
    memory_bytes: Annotated[int, Field(ge=0)] | None = None


class Desired(Strict):
    """Everything the cloud wants of one device. Streams, sinks and credentials are not here: they are the device's own, or signed offline.

    `hold` is set by a reset: nothing newer is approved yet. `requires` are metadata of the trust store that must be known first.
    """

    device: Annotated[str, Field(min_length=1, max_length=128)]
    revision: Revision
    issued: AwareDatetime
    reset_epoch: Revision = 0
    hold: bool = False
    active: Annotated[tuple[DesiredBusiness, ...], Field(max_length=256)] = ()
    staged: Annotated[tuple[Item, ...], Field(max_length=1024)] = ()
    """To be downloaded and kept, not activated."""
    document: Item | None = None
    """The offline-signed Device document that declares streams and bindings; None: the device's own file."""
    probation_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    shadow: Shadow | None = None
    """What the change to this revision must show before anything is switched."""
