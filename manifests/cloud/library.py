"""Models and businesses: their versions, what they need, who uses whom."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from manifests.bundle.bundle import Lock
from manifests.bundle.canonical import encode
from manifests.bundle.items import ItemDocument
from manifests.cloud.audit import record
from manifests.cloud.bundles import blobs_of, ram_of
from manifests.cloud.database import upsert
from manifests.cloud.errors import Refusal, Unknown, Wrong
from manifests.cloud.tables import blobs, contents, costs, items, uses
from manifests.errors import did_you_mean, one_of
from manifests.sync.desired import Item
from manifests.versions import Range, Version, split_selector

Signed = Callable[[Item], bool]
"""Whether an item is among the targets that are signed now."""


@dataclass(frozen=True, slots=True)
class Use:
    """A business needs a model, in a range of versions."""

    alias: str
    model: str
    range: Range


class Library:
    """What is there, read once: an operation over ten thousand devices asks the same questions ten thousand times."""

    def __init__(self, connection: Connection, signed: Signed) -> None:
        self._connection = connection
        self._ask, self._known = signed, dict[str, bool]()
        self._uses: dict[str, tuple[Use, ...]] = {}
        self._sizes: dict[str, dict[str, int]] = {}
        columns = (items.c.kind, items.c.name, items.c.version, items.c.digest, items.c.ram_bytes, items.c.pair)
        rows = connection.execute(select(*columns)).all()
        self.items = {row.digest: Item(kind=row.kind, name=row.name, version=row.version, digest=row.digest) for row in rows}
        self._golden = {row.pair: self.items[row.digest] for row in rows if row.pair}
        self.ram = {row.digest: row.ram_bytes for row in rows}
        self.costs: dict[str, tuple[int, int]] = {row.pair: (row.ram_bytes, row.shared_bytes) for row in connection.execute(select(costs))}
        """By `pair_key`: bytes of memory of a business with its models, its own and shared."""

    def signed(self, item: Item) -> bool:
        if item.digest not in self._known:
            self._known[item.digest] = self._ask(item)
        return self._known[item.digest]

    def versions(self, kind: str, name: str) -> dict[Version, Item]:
        """Raises Unknown, with the nearest name."""
        found = {Version.parse(item.version): item for item in self.items.values() if (item.kind, item.name) == (kind, name)}
        if not found:
            names = sorted({item.name for item in self.items.values() if item.kind == kind})
            raise Unknown(f"{kind}/{name}: expected {one_of(names)}; {did_you_mean(name, names) or 'upload it first'}")
        return found

    def find(self, selector: str) -> Item:
        """`KIND/NAME[@RANGE]`: the highest version in the range that is signed. Raises Unknown, Wrong, Refusal."""
        kind, slash, rest = selector.partition("/")
        if not slash or kind not in {"model", "business", "device"}:
            raise Wrong(f"expected model/NAME[@VERSION] or business/NAME[@VERSION], got {selector!r}")
        try:
            name, wanted = split_selector(rest)
        except ValueError as error:
            raise Wrong(f"{selector}: {error}") from None
        there = self.versions(kind, name)
        matching = sorted((version for version in there if version in wanted), reverse=True)
        if not matching:
            raise Unknown(f"{selector}: expected {one_of(str(version) for version in sorted(there))}")
        for version in matching:
            if self.signed(there[version]):
                return there[version]
        raise Refusal(f"{there[matching[0]].selector} is not among the signed targets: sign it with `ace trust add`, then publish")

    def uses(self, business: Item) -> tuple[Use, ...]:
        """What a business needs."""
        if business.digest not in self._uses:
            rows = self._connection.execute(select(uses).where(uses.c.business == business.digest).order_by(uses.c.alias))
            self._uses[business.digest] = tuple(Use(row.alias, row.model, Range.parse(row.range)) for row in rows)
        return self._uses[business.digest]

    def sizes(self, item: Item) -> dict[str, int]:
        """The blobs of an item, with their sizes."""
        if item.digest not in self._sizes:
            query = (
                select(blobs.c.digest, blobs.c.size).join(contents, contents.c.blob == blobs.c.digest).where(contents.c.item == item.digest)
            )
            self._sizes[item.digest] = {row.digest: row.size for row in self._connection.execute(query)}
        return self._sizes[item.digest]

    def golden(self, business: Item, models: Mapping[str, Item]) -> Item | None:
        """The clip that was recorded with exactly these; None where there is none that is signed."""
        found = self._golden.get(pair_key(business.digest, {alias: model.digest for alias, model in models.items()}))
        return found if found is not None and self.signed(found) else None

    def resolve(self, use: Use, preferred: Iterable[Item] = ()) -> Item:
        """The model for a use: one of the preferred, where the range takes it, or the highest that is signed. Raises Refusal, Unknown."""
        for item in preferred:
            if item.name == use.model and Version.parse(item.version) in use.range:
                return item
        return self.find(f"model/{use.model}@{use.range}")


def pair_key(business: str, models: Mapping[str, str]) -> str:
    """One name for a business and its models, all by their digests."""
    return hashlib.sha256(encode([business, dict(models)])).hexdigest()


def add(connection: Connection, by: str, documents: Iterable[ItemDocument]) -> list[Item]:
    """Takes in the items of a bundle; the same content twice is taken once. Raises Refusal for a version that exists with other content."""
    added = []
    for document in documents:
        item = document.item
        recorded = document.pair
        pair = pair_key(recorded.business, recorded.models) if recorded else ""
        same = (items.c.kind == item.kind, items.c.name == item.name, items.c.version == item.version, items.c.pair == pair)
        there = connection.execute(select(items.c.digest).where(*same)).scalar()
        if there == item.digest:
            continue
        if there is not None:
            raise Refusal(
                f"{item.selector} exists with other content ({there[:12]}): expected a new version number, got {item.digest[:12]}"
            )
        connection.execute(
            insert(items).values(
                **item.model_dump(),
                pair=pair,
                ram_bytes=ram_of(document),
                uploaded=time.time(),
                by=by,
            )
        )
        needed = blobs_of(document)
        known = set(connection.execute(select(blobs.c.digest).where(blobs.c.digest.in_(list(needed)))).scalars())
        new = [{"digest": digest, "size": size} for digest, size in needed.items() if digest not in known]
        if new:
            connection.execute(insert(blobs), new)
        connection.execute(insert(contents), [{"item": item.digest, "blob": digest} for digest in needed])
        wanted = [(alias, *selector.partition("@")) for alias, selector in document.models.items()]
        if wanted:
            rows = [{"business": item.digest, "alias": a, "model": model, "range": text or "*"} for a, model, _, text in wanted]
            connection.execute(insert(uses), rows)
        record(connection, by, "item.add", item.selector, digest=item.digest)
        added.append(item)
    return added


def note_costs(connection: Connection, locks: Iterable[Lock]) -> None:
    """What a bundle says that its businesses take with their models. What is said last counts."""
    rows = {
        pair_key(lock.pair.business, lock.pair.models): {
            "ram_bytes": lock.cost["ram-bytes"],
            "shared_bytes": lock.cost.get("shared-memory-bytes", 0),
        }
        for lock in locks
        if "ram-bytes" in lock.cost
    }
    upsert(connection, costs, [{"pair": pair, **row} for pair, row in rows.items()], "pair")


def listing(connection: Connection, signed: Signed) -> list[dict[str, Any]]:
    """All items, with who uses them and what they use."""
    library = Library(connection, signed)
    users: dict[str, set[str]] = {}
    for item in library.items.values():
        for use in library.uses(item) if item.kind == "business" else ():
            users.setdefault(use.model, set()).add(item.selector)
    return [
        {
            **item.model_dump(),
            "signed": signed(item),
            "bytes": sum(library.sizes(item).values()),
            "ram_bytes": library.ram[item.digest],
            "uses": {use.alias: f"{use.model}@{use.range}" for use in library.uses(item)} if item.kind == "business" else {},
            "used_by": sorted(users.get(item.name, ())) if item.kind == "model" else [],
        }
        for item in sorted(library.items.values(), key=lambda item: (item.kind, item.name, Version.parse(item.version)))
    ]
