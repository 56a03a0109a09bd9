"""The store of one device."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import BundleError, decode, digest, encode
from manifests.store.blobs import CHUNK, BlobError, Blobs
from manifests.store.database import Database, DatabaseBroken, set_aside
from manifests.store.effects import Effects, make_folder, write_file
from manifests.store.generations import FACTORY, Generations, content
from manifests.sync.desired import Desired

FOLDERS = ("blobs", "blobs/sha256", "partial", "factory", "releases", "keys")
LOCK = "lock"
FLOOR = "floor.json"
FACTORY_FILE = "factory/factory.ace"
EPOCH = "1970-01-01T00:00:00Z"

Key = Literal["floor", "floor_digest", "reset_epoch", "hold", "time", "order", "running", "reset", "reconcile", "session", "metadata"]


class StoreError(Exception):
    """A store that cannot be used: what was expected, what came, what to do next."""


class StoreInUse(StoreError):
    """Another process has the store open."""


class Store:
    """Blobs, generations and facts of one device. One process has it open.

    Opening recovers: what was cut off is finished or forgotten, a broken database is set aside (`lost` says where to) and the
    device begins again with its factory file. Raises StoreError, OSError, sqlite3.Error.
    """

    def __init__(self, root: str | os.PathLike[str], *, effects: Effects | None = None) -> None:
        self.root, self.effects = Path(root), effects or Effects()
        self.lost: Path | None = None
        self.leases: set[str] = set()
        """Digests that are in use although no generation with a role needs them."""
        self._folders()
        self._lock = self._locked()
        try:
            self.database = self._database()
            self.blobs = Blobs(self.root, self.database, self.effects)
            self.generations = Generations(self.database, self.blobs)
            self._tidy()
            self._factory()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the database and lets others open the store."""
        if database := getattr(self, "database", None):
            database.close()
        os.close(self._lock)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fact(self, key: Key, default: Any = None) -> Any:
        """A fact that outlives restarts."""
        value = self.database.value("SELECT value FROM meta WHERE key = ?", key)
        return default if value is None else value

    def state(self, key: Key, value: Any) -> None:
        """States a fact, inside a transaction."""
        self.database.change("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside are made together, or none."""
        with self.database.transaction():
            yield

    def raise_floor(self, revision: int) -> None:
        """Writes down, outside the database too, that nothing older than this revision is ever taken. Raises OSError."""
        write_file(self.effects, self.root / FLOOR, encode({"revision": revision, "time": int(self.fact("time", 0))}))

    def free(self) -> int:
        """Bytes that may still be written."""
        return shutil.disk_usage(self.root).free

    def take(self, bundle: Bundle, digests: set[str]) -> None:
        """Copies these blobs out of a bundle, as far as they are not here. Raises BundleError, OSError."""
        sizes = {entry.sha256: entry.size for entry in bundle.document.entries}
        for sha256 in sorted(digests):
            if self.blobs.has(sha256):
                continue
            try:
                self._copy(bundle, sha256, sizes[sha256])
            except BlobError:
                # What lay there from an earlier start was not what its row said; it is gone now.
                self._copy(bundle, sha256, sizes[sha256])

    def _copy(self, bundle: Bundle, sha256: str, size: int) -> None:
        done = self.blobs.begin(sha256, size)
        for part in joined(bundle.chunks(sha256, done)):
            done = self.blobs.append(sha256, part, done)
        self.blobs.finish(sha256)

    def _folders(self) -> None:
        make_folder(self.effects, self.root)
        for name in FOLDERS:
            self.effects.mkdir(self.root / name)
        self.effects.sync_folder(self.root)
        self.effects.sync_folder(self.root / "blobs")

    def _locked(self) -> int:
        self.effects.touch(self.root / LOCK)
        lock = os.open(self.root / LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreInUse(
                f"{self.root}: expected a store that no other process has open, got one in use; stop the other agent"
            ) from None
        return lock

    def _database(self) -> Database:
        try:
            database = Database(self.root, self.effects)
        except DatabaseBroken as error:
            self.lost = set_aside(self.root, self.effects)
            database = Database(self.root, self.effects)
            with database.transaction():
                body = encode({"kind": "database-lost", "reason": str(error), "kept": str(self.lost)}).decode()
                database.change("INSERT INTO outbox (final, body) VALUES (1, ?)", body)
        self._recall(database)
        return database

    def _recall(self, database: Database) -> None:
        """What a database does not know that was begun anew: also where power was cut right after that, or somebody removed the old one."""
        if database.value("SELECT 1 FROM meta WHERE key = 'floor'") is not None:
            return
        try:
            floor = decode((self.root / FLOOR).read_bytes(), what=FLOOR, limit=4096)
            facts = {"floor": int(floor["revision"]), "time": int(floor["time"])}
        except (OSError, BundleError, KeyError, TypeError, ValueError):
            return
        with database.transaction():
            for key, value in facts.items():
                database.change("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value)

    def _tidy(self) -> None:
        """Files that nobody names go."""
        known = {row[0] for row in self.database.rows("SELECT sha256 FROM partial")}
        for path in self.blobs.partial.iterdir():
            if path.name not in known:
                self.effects.unlink(path)

    def _factory(self) -> None:
        """Generation 0 is here, whatever else was lost."""
        row = self.generations.role("factory")
        if row is not None:
            return
        desired = Desired.model_validate({"device": "*", "revision": 0, "issued": EPOCH})
        path = self.root / FACTORY_FILE
        if path.is_file():
            try:
                with Bundle(path) as bundle:
                    desired = bundle.desired("*", revision=0, issued=EPOCH)
                    needed = {entry.sha256 for entry in bundle.document.entries}
                    for sha256 in needed:
                        if not self.blobs.has(sha256):
                            self.blobs.adopt(sha256)
                    self.take(bundle, needed)
            except BundleError as error:
                raise StoreError(
                    f"{path}: expected the factory bundle, got a broken one: {error}; put the device's own file there"
                ) from None
        with self.transaction():
            self.generations.add(desired, digest(content(desired)), made=0.0, number=FACTORY)
            self.generations.assign("factory", FACTORY)
            if self.generations.role("active") is None:
                self.generations.assign("active", FACTORY)
                self.state("reconcile", 1)


def install_factory(root: str | os.PathLike[str], bundle: str | os.PathLike[str], *, effects: Effects | None = None) -> None:
    """Makes this bundle generation 0 of a store that is to be made. Raises StoreError where there is one already, BundleError, OSError."""
    effects = effects or Effects()
    path = Path(root)
    if (path / FACTORY_FILE).exists() or (path / "state.db").exists():
        raise StoreError(f"{root}: expected a place without a store, got one; `ace reset --local` brings it back to its factory state")
    for folder in (path, path / "factory"):
        make_folder(effects, folder)
    part = path / f"{FACTORY_FILE}.part"
    with Bundle(bundle) as checked, checked.path.open("rb") as stream:
        effects.create(part)
        at = 0
        while data := stream.read(CHUNK):
            effects.write(part, data, at)
            at += len(data)
    effects.protect(part)
    effects.sync(part)
    effects.rename(part, path / FACTORY_FILE)
    effects.sync_folder(path / "factory")


def joined(parts: Iterator[bytes], size: int = CHUNK) -> Iterator[bytes]:
    """The same bytes in parts of `size`, the last one shorter."""
    held: list[bytes] = []
    length = 0
    for part in parts:
        held.append(part)
        length += len(part)
        while length >= size:
            whole = b"".join(held)
            yield whole[:size]
            held, length = [whole[size:]], length - size
    if length:
        yield b"".join(held)
