"""A signed file: a bundle that carries its own desired state and the signed metadata to judge it by. It needs no network at all.

`update.json` is canonical JSON: {"format", "metadata": {name: text}, "desired": text}. `metadata` are files of the signed repository (TUF)
by name, as a device would fetch them; `desired` is the desired state in its envelope (DSSE), signed by the offline key for update files.
Nothing here is believed: both take the way of what comes from the cloud.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import BundleError, encode
from manifests.bundle.items import read_as
from manifests.schema.common import Strict

MAX_UPDATE = 12 << 20
MetadataName = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,8}\.)?[a-z]{1,16}\.json$")]


class Update(Strict):
    """What a signed file carries beside its items."""

    format: Literal["ace.update/v1"] = "ace.update/v1"
    metadata: Annotated[dict[MetadataName, Annotated[str, Field(max_length=5_000_000)]], Field(max_length=64)]
    desired: Annotated[str, Field(max_length=4 << 20)]

    def encoded(self) -> bytes:
        """The entry of the file."""
        return encode(self.model_dump(mode="json"))

    def fetch(self, name: str, most: int) -> bytes | None:
        """A metadata file by its name, as a device asks for it; None where the file carries none."""
        text = self.metadata.get(name)
        return None if text is None else text.encode()[:most]


def make(metadata: Mapping[str, bytes], desired: str) -> Update:
    """What a signed file carries: metadata by name, and a desired state in its envelope."""
    return Update(metadata={name: data.decode() for name, data in metadata.items()}, desired=desired)


def update_of(path: str | os.PathLike[str]) -> Update:
    """What a signed file carries, unverified. Raises BundleError, OSError."""
    with Bundle(path) as bundle:
        return update_in(bundle)


def update_in(bundle: Bundle) -> Update:
    """The same of a bundle that is open. Raises BundleError."""
    data = bundle.update(MAX_UPDATE)
    if data is None:
        expected = "expected a signed file, got a bundle without a desired state"
        raise BundleError(f"{bundle.path}: {expected}; write it with `ace pack --trust DIR --revision N`")
    return read_as(Update, data, what=f"{bundle.path}: the signed desired state", limit=MAX_UPDATE)
