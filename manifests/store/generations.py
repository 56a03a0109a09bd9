"""Generations: desired states that were made ready to run, and the roles they have. What a role needs is never collected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from manifests.bundle.canonical import BundleError, encode
from manifests.bundle.items import ItemDocument, plain, read_item
from manifests.store.blobs import Blobs
from manifests.store.database import Database
from manifests.sync.desired import Desired, Item

Role = Literal["active", "previous", "staged", "factory"]
FACTORY = 0
"""The generation that a device comes with: always there, never collected."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A desired state under the number that the store gave it."""

    id: int
    desired: Desired


class Generations:
    """Generations and their roles."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database, self._blobs = database, blobs

    def add(self, desired: Desired, digest: str, *, made: float, number: int | None = None) -> int:
        """A generation; its number is the next one. Stands inside a transaction."""
        document = encode(desired.model_dump(mode="json"))
        following = self._database.value("SELECT coalesce(max(id), 0) + 1 FROM generation")
        number = following if number is None else number
        self._database.change(
            "INSERT OR REPLACE INTO generation (id, revision, digest, desired, made) VALUES (?, ?, ?, ?, ?)",
            number, desired.revision, digest, document, made,
        )  # fmt: skip
        return int(number)

    def get(self, number: int) -> Generation:
        """The generation of this number. Raises LookupError."""
        row = self._database.rows("SELECT desired FROM generation WHERE id = ?", number)
        if not row:
            raise LookupError(f"expected generation {number} in the store, got none")
        return Generation(number, Desired.model_validate_json(row[0][0]))

    def role(self, role: Role) -> Generation | None:
        """The generation that has this role."""
        number = self._database.value("SELECT generation FROM role WHERE name = ?", role)
        return None if number is None else self.get(number)

    def assign(self, role: Role, number: int | None) -> None:
        """Gives the role to another generation, or to none. Stands inside a transaction."""
        if number is None:
            self._database.change("DELETE FROM role WHERE name = ?", role)
        else:
            self._database.change("INSERT OR REPLACE INTO role (name, generation) VALUES (?, ?)", role, number)

    def forget(self) -> None:
        """Generations without a role go. Stands inside a transaction."""
        self._database.change("DELETE FROM generation WHERE id NOT IN (SELECT generation FROM role)")

    def rooted(self) -> Iterator[Generation]:
        """Every generation that has a role."""
        for (number,) in self._database.rows("SELECT DISTINCT generation FROM role"):
            yield self.get(number)

    def document(self, item: Item) -> ItemDocument:
        """The document of an item in the store. Raises BundleError and OSError."""
        return _parsed(self._blobs.read(item.digest), item)

    def needs(self, desired: Desired) -> set[str]:
        """Digests of everything that this state consists of, as far as it is known here."""
        found: set[str] = set()
        for item in items_of(desired):
            found.add(item.digest)
            if self._blobs.has(item.digest):
                found.update(blob.sha256 for blob in self.document(item).blobs)
        return found

    def is_sound(self, generation: Generation) -> bool:
        """Whether every byte of it is here and right."""
        try:
            return all(map(self._blobs.is_sound, self.needs(generation.desired)))
        except (BundleError, OSError):
            return False


_parsed = lru_cache(maxsize=32)(read_item)
"""Items are immutable, and asked for at every step of an update."""


def items_of(desired: Desired) -> tuple[Item, ...]:
    """Every item that a desired state names, each once."""
    return tuple(dict.fromkeys(_items(desired)))


def _items(desired: Desired) -> Iterable[Item]:
    for business in desired.active:
        yield business.business
        yield from business.models.values()
        if business.golden:
            yield business.golden
    yield from desired.staged
    if desired.document:
        yield desired.document


def content(desired: Desired) -> bytes:
    """What of a desired state decides what runs: equal contents need no switch."""
    return encode({"active": [plain(business) for business in desired.active], "document": desired.document and plain(desired.document)})
