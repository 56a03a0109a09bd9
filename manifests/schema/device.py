"""The Device manifest: the streams of one device and the businesses it runs on them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from manifests.schema.common import ENVIRONMENT, Manifest, Name, Selector, Strict, Version

OverloadName = Literal["block", "latest", "drop_oldest"]


MAX_SOURCE = 2048
"""Characters of a source."""


HOURS = r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"


class Every(Strict):
    """Take every Nth frame."""

    every: Annotated[int, Field(ge=1, le=100_000)]


class StreamManifest(Strict):
    """A source of frames. `size` (width, height) and `fps` are asked of cameras, and of sources that cannot be looked at beforehand."""

    source: Annotated[str, Field(min_length=1, max_length=MAX_SOURCE)]
    secret: Annotated[str, Field(pattern=ENVIRONMENT)] | None = None
    """Name of the environment variable (or of the 0600 file that NAME_FILE points to) that holds `user:password`."""
    overload: OverloadName | Every | None = None
    """Default: `block` for files, `latest` for live sources."""
    queue: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Frames that `drop_oldest` may keep waiting."""
    loop: bool = False
    reconnect: bool = True
    size: tuple[Annotated[int, Field(ge=1, le=16384)], Annotated[int, Field(ge=1, le=16384)]] | None = None
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None


class UseManifest(Strict):
    """One business on this device."""

    use: Selector
    name: Name | None = None
    """What this use is called in results and reports (default: the business's name); needed where one business runs twice."""
    bind: dict[Name, Name] = Field(default={})
    """input of the business: stream of the device."""
    set: dict[str, Any] = Field(default={})
    """`node.key`: value; changes one business on one device and is checked like config."""
    on_error: Literal["restart", "skip", "stop"] = "restart"
    enabled: bool = True


class Device(Manifest):
    """What one device runs."""

    kind: Literal["Device"] = "Device"
    name: Name
    version: Version = "1.0.0"
    """Of the manifest, for one that is signed: another content needs another version."""
    streams: Annotated[dict[Name, StreamManifest], Field(max_length=256)]
    businesses: Annotated[tuple[UseManifest, ...], Field(max_length=256)] = ()
    maintenance: Annotated[tuple[Annotated[str, Field(pattern=HOURS)], ...], Field(max_length=16)] = ()
    """When updates may be switched to, in the device's local time: `02:00-05:00`; at any time where none is given."""
