"""A bundle: items with everything they consist of, in one file. Its identity is the digest of its first entry, `bundle.json`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from manifests.bundle.archive import MAX_ENTRIES, UPDATE, Archive
from manifests.bundle.canonical import BundleError, digest, encode
from manifests.bundle.items import MAX_DOCUMENT, Blob, Cost, ItemDocument, Pair, plain, read_as, read_item
from manifests.schema.common import Strict
from manifests.sync.desired import Desired, DesiredBusiness, Digest, Item
from manifests.versions import Version

FIRST = "bundle.json"
FOLDER = "blobs/"
MAX_FIRST = 4 << 20


class Lock(Strict):
    """What the version ranges of a business led to, the golden clip of that pair, and what the pair costs on every device alike."""

    pair: Pair
    golden: Digest | None = None
    cost: Cost = Field(default={})


class BundleDocument(Strict):
    """`bundle.json`: sha256 (as its name `blobs/SHA256`) and size of every other entry, the items, and how they are locked together."""

    format: Literal["ace.bundle/v1"] = "ace.bundle/v1"
    entries: Annotated[tuple[Blob, ...], Field(max_length=MAX_ENTRIES)]
    items: Annotated[tuple[Item, ...], Field(max_length=MAX_ENTRIES)]
    locks: Annotated[tuple[Lock, ...], Field(max_length=1024)] = ()

    def encoded(self) -> bytes:
        """The canonical document."""
        return encode(plain(self) | {"format": self.format})


class Bundle:
    """An open bundle: every item is there with every file, nothing else is, and each digest was checked against the bytes.

    Raises BundleError where that is not so, and OSError where the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.archive = Archive(path)
        try:
            self.identity, self.document = self._first()
            self.items: Mapping[str, ItemDocument] = self._items()
        except BaseException:
            self.archive.close()
            raise

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self.archive.close()

    def update(self, limit: int) -> bytes | None:
        """The signed desired state that the file carries, unread; None where it carries none. Raises BundleError for more than `limit`."""
        return self.archive.read(UPDATE, limit) if UPDATE in self.archive.entries else None

    def has(self, sha256: str) -> bool:
        """Whether the bundle holds these bytes."""
        return FOLDER + sha256 in self.archive.entries

    def chunks(self, sha256: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes of this digest from `offset` on."""
        return self.archive.chunks(FOLDER + sha256, offset)

    def read(self, blob: Blob) -> bytes:
        """All bytes of a small blob."""
        return self.archive.read(FOLDER + blob.sha256, blob.size)

    def desired(self, device: str, *, revision: int, issued: str) -> Desired:
        """The state in which a device runs every business as locked, each in its newest version; `issued` is UTC in ISO 8601."""
        by_digest = {item.digest: item for item in self.document.items}
        newest: dict[str, Lock] = {}
        for lock in self.document.locks:
            item = by_digest[lock.pair.business]
            other = newest.get(item.name)
            if other is None or Version.parse(by_digest[other.pair.business].version) < Version.parse(item.version):
                newest[item.name] = lock
        active = tuple(
            DesiredBusiness(
                business=by_digest[lock.pair.business],
                models={alias: by_digest[model] for alias, model in lock.pair.models.items()},
                golden=None if lock.golden is None else by_digest[lock.golden],
            )
            for lock in newest.values()
        )
        documents = [item for item in self.document.items if item.kind == "device"]
        value = {"device": device, "revision": revision, "issued": issued, "active": [plain(each) for each in active]}
        if documents:
            value["document"] = plain(documents[0])
        used = {each for business in active for each in (business.business, *business.models.values(), business.golden)}
        value["staged"] = [plain(item) for item in self.document.items if item not in used and item.kind != "device"]
        return Desired.model_validate(value)

    def _first(self) -> tuple[str, BundleDocument]:
        what = f"{self.path}: {FIRST}"
        if next(iter(self.archive.entries)) != FIRST:
            raise BundleError(f"{self.path}: expected {FIRST} as the first entry, got another; is it a bundle?")
        data = self.archive.read(FIRST, MAX_FIRST)
        document = read_as(BundleDocument, data, what=what, limit=MAX_FIRST)
        named = {FOLDER + entry.sha256: entry for entry in document.entries}
        there = {name for name in self.archive.entries if name not in (FIRST, UPDATE)}
        if len(named) < len(document.entries) or there != set(named):
            different = sorted(there ^ set(named))
            raise BundleError(f"{what}: expected every entry described once, got {', '.join(different[:3]) or 'one described twice'}")
        for name, entry in named.items():
            if self.archive.entries[name][1] != entry.size:
                raise BundleError(f"{what}: expected {entry.size} bytes of {name}, got {self.archive.entries[name][1]}")
        for name, entry in named.items():
            if (got := self.archive.sha256(name)) != entry.sha256:
                raise BundleError(f"{self.path}: {name}: expected bytes of that sha256, got {got}; copy the file again")
        self.archive.sha256(FIRST)
        return digest(data), document

    def _items(self) -> dict[str, ItemDocument]:
        """Item documents by digest."""
        found: dict[str, ItemDocument] = {}
        for item in self.document.items:
            if not self.has(item.digest) or item.digest in found:
                raise BundleError(
                    f"{self.path}: expected the document of {item.selector} once, got {'two' if item.digest in found else 'none'}"
                )
            found[item.digest] = read_item(self.archive.read(FOLDER + item.digest, MAX_DOCUMENT), item)
        sizes = {entry.sha256: entry.size for entry in self.document.entries}
        needed = set(found)
        for document in found.values():
            for path, blob in document.files.items():
                if sizes.get(blob.sha256) != blob.size:
                    raise BundleError(
                        f"{self.path}: expected {path} of {document.item.selector} in the bundle, got none of its digest and size"
                    )
                needed.add(blob.sha256)
        if needed != set(sizes):
            raise BundleError(f"{self.path}: expected only what an item needs, got {len(set(sizes) - needed)} entries more; pack it again")
        for lock in self.document.locks:
            self._check_lock(lock, found)
        if sum(document.kind == "device" for document in found.values()) > 1:
            raise BundleError(f"{self.path}: expected at most one device document, got several")
        return found

    def _check_lock(self, lock: Lock, items: Mapping[str, ItemDocument]) -> None:
        business = items.get(lock.pair.business)
        models = [items.get(model) for model in lock.pair.models.values()]
        if business is None or business.kind != "business" or any(model is None or model.kind != "model" for model in models):
            raise BundleError(f"{self.path}: expected a lock of a business and its models in the bundle, got {lock.pair.business[:12]}")
        if set(business.models) != set(lock.pair.models):
            wanted, got = sorted(business.models), sorted(lock.pair.models)
            raise BundleError(f"{self.path}: expected {business.item.selector} locked to its models {wanted}, got {got}")
        if lock.golden is not None and ((clip := items.get(lock.golden)) is None or clip.pair != lock.pair):
            raise BundleError(f"{self.path}: expected the golden clip of {business.item.selector} and its models, got that of another pair")


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Bundle]:
    """A bundle that is closed afterwards. Raises BundleError and OSError."""
    bundle = Bundle(path)
    try:
        yield bundle
    finally:
        bundle.close()
