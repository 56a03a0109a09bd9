"""What the cloud asks of a bundle that is uploaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from manifests.sync.desired import Item
from manifests.trust.tunable import Bound


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a bundle. `document` is its canonical document, of which `item.digest` is the sha256."""

    item: Item
    document: bytes
    blobs: Mapping[str, int]
    """sha256: bytes."""
    uses: Mapping[str, str] = field(default_factory=dict)
    """Of a business: alias: `name@range` of a model."""
    tunable: Mapping[str, Bound] = field(default_factory=dict)
    """Of a business: `node.key`: what it may be set to."""
    ram_bytes: int = 0
    pair: tuple[str, Mapping[str, str]] | None = None
    """Of a golden clip: the digests of the business and, by alias, of the models that it was recorded with."""


class Bundle(Protocol):
    """A file that was checked: every digest and size is right."""

    @property
    def entries(self) -> Sequence[Entry]: ...

    def open(self, digest: str) -> BinaryIO:
        """The bytes of one blob."""


ReadBundle = Callable[[Path], AbstractContextManager[Bundle]]
"""Opens and checks a bundle. Raises ValueError for a file that is none, with what is wrong."""
