"""A power cut after any call: what a disk may hold then, worked out from the calls that were made.

A name that was made, renamed or removed is durable once its folder was synced; until then it may or may not have happened. Content is
durable once its file was synced; until then it may be absent, torn or whole. A transaction of the database is durable and whole.
"""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.store.effects import Effects


class Recorder(Effects):
    """Does everything for real below `root`, and remembers it. `forgets` are calls that have no lasting effect, as on a lying disk: by
    name, or by name and path.
    """

    def __init__(self, root: Path, forgets: frozenset[str] = frozenset()) -> None:
        self.root, self.forgets = root, forgets
        self.calls: list[tuple[Any, ...]] = []

    def _note(self, name: str, *values: Any) -> None:
        call = (name, *(value.relative_to(self.root) if isinstance(value, Path) else value for value in values))
        if not {name, f"{name} {call[1]}"} & self.forgets:
            self.calls.append(call)

    def promise(self, **facts: Any) -> None:
        """From here on, whatever is cut, nobody may find these otherwise."""
        self.calls.append(("promise", facts))

    def mkdir(self, path: Path, mode: int = 0o755) -> None:
        super().mkdir(path, mode)
        self._note("mkdir", path)

    def touch(self, path: Path) -> None:
        if not path.exists():
            super().touch(path)
            self._note("create", path)

    def create(self, path: Path, mode: int = 0o600) -> None:
        super().create(path, mode)
        self._note("create", path)

    def reserve(self, path: Path, size: int) -> None:
        super().reserve(path, size)
        self._note("reserve", path, size)

    def write(self, path: Path, data: bytes, offset: int) -> None:
        super().write(path, data, offset)
        self._note("write", path, bytes(data), offset)

    def protect(self, path: Path) -> None:
        super().protect(path)
        self._note("protect", path)

    def sync(self, path: Path) -> None:
        super().sync(path)
        self._note("sync", path)

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        self._note("sync_folder", path)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._note("rename", old, new)

    def link(self, old: Path, new: Path) -> None:
        super().link(old, new)
        self._note("link", old, new)

    def unlink(self, path: Path) -> None:
        if path.exists():
            super().unlink(path)
            self._note("unlink", path)

    def rmdir(self, path: Path) -> None:
        super().rmdir(path)
        self._note("unlink", path)

    def commit(self, connection: sqlite3.Connection) -> None:
        super().commit(connection)
        self._committed(connection)

    def copy(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        super().copy(source, target)
        self._committed(target)

    def _committed(self, connection: sqlite3.Connection) -> None:
        (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
        self._note("commit", Path(path), connection.serialize())


@dataclass(eq=False)
class File:
    """Content now, and what of it is durable."""

    now: bytes = b""
    durable: bytes = b""
    dirty: bool = False


@dataclass(eq=False)
class Folder:
    """Names now, and those that are durable."""

    now: dict[str, Any] = field(default_factory=dict)
    durable: dict[str, Any] = field(default_factory=dict)


RECENT = 3
STATES = ("absent", "torn", "full")

Change = tuple[Folder, str, Any]
"""Folder, name, what is there then (None: nothing)."""
Tree = dict[str, File | None]
"""path: file (None: a folder)."""


class Disk:
    """The state after some calls: what is durable, which changes of names are pending (each group happens as one)."""

    def __init__(self) -> None:
        self.root = Folder()
        self.pending: list[tuple[bool, list[Change]]] = []
        """(whether it is about derived files, the changes)"""
        self.dirty: dict[File, bool] = {}
        """Files that were written, and whether they are derived."""
        self.database: tuple[Path, bytes] | None = None
        self.promised: dict[str, Any] = {}

    def find(self, path: Path) -> Any:
        place: Any = self.root
        for part in path.parts:
            place = place.now[part]
        return place

    def apply(self, call: tuple[Any, ...]) -> None:
        name, *values = call
        getattr(self, name)(*values)

    def change(self, *changes: tuple[Path, Any]) -> None:
        group = []
        for path, target in changes:
            folder = self.find(path.parent)
            if target is None:
                folder.now.pop(path.name, None)
            else:
                folder.now[path.name] = target
            group.append((folder, path.name, target))
        self.pending.append((derived(changes[0][0]), group))

    def mkdir(self, path: Path) -> None:
        if path.parts and path.name not in self.find(path.parent).now:
            self.change((path, Folder()))

    def create(self, path: Path) -> None:
        if (file := self.find(path.parent).now.get(path.name)) is None:
            self.change((path, File()))
        else:
            file.now, file.dirty = b"", True
            self.dirty[file] = derived(path)

    def reserve(self, path: Path, size: int) -> None:
        file = self.find(path)
        file.now, file.dirty = file.now.ljust(size, b"\0"), True
        self.dirty[file] = derived(path)

    def write(self, path: Path, data: bytes, offset: int) -> None:
        file = self.find(path)
        file.now = file.now[:offset].ljust(offset, b"\0") + data + file.now[offset + len(data) :]
        file.dirty = True
        self.dirty[file] = derived(path)

    def protect(self, path: Path) -> None:
        pass

    def sync(self, path: Path) -> None:
        file = self.find(path)
        file.durable, file.dirty = file.now, False
        self.dirty.pop(file, None)

    def sync_folder(self, path: Path) -> None:
        folder = self.find(path)
        left = []
        for kind, group in self.pending:
            rest = []
            for change in group:
                if change[0] is folder:
                    happen(change)
                else:
                    rest.append(change)
            if rest:
                left.append((kind, rest))
        self.pending = left

    def rename(self, old: Path, new: Path) -> None:
        target = self.find(old)
        if old.parent == new.parent:
            self.change((new, target), (old, None))
        else:
            self.change((new, target))
            self.change((old, None))

    def link(self, old: Path, new: Path) -> None:
        self.change((new, self.find(old)))

    def unlink(self, path: Path) -> None:
        self.change((path, None))

    def commit(self, path: Path, content: bytes) -> None:
        self.database = path, content

    def promise(self, facts: dict[str, Any]) -> None:
        self.promised |= facts

    def survivors(self, seed: int, each: int | None) -> Iterator[tuple[Tree, dict[int, bytes]]]:
        """Trees that may be left, and the content of each file by its id.

        All subsets of the last changes of stored names, and for each all contents of stored files that were not synced; of older changes,
        and of what is derived, nothing, everything, and some at random. `each`: how many are given, the first and the last included.
        """
        chance = random.Random(seed)
        stored = [number for number, (kind, _) in enumerate(self.pending) if not kind]
        recent = stored[-RECENT:]
        older = [number for number in range(len(self.pending)) if number not in recent]
        others: list[set[int]] = [set(), set(older), {number for number in older if chance.random() < 0.5}] if older else [set()]
        subsets = [set(some) for count in range(len(recent) + 1) for some in itertools.combinations(recent, count)]
        dirty = [file for file in self.dirty if file.dirty]
        states = list(itertools.product(STATES, repeat=sum(not self.dirty[file] for file in dirty)))
        choices = list(itertools.product(others, subsets, states))
        if each is not None and len(choices) > each:
            choices = [choices[0], *chance.sample(choices[1:-1], each - 2), choices[-1]]
        for other, some, chosen in choices:
            left = iter(chosen)
            contents = {id(file): content(file, chance.choice(STATES) if self.dirty[file] else next(left)) for file in dirty}
            yield self.tree(some | other), contents

    def tree(self, kept: set[int]) -> Tree:
        changed: dict[Folder, dict[str, Any]] = {}
        for number, (_, group) in enumerate(self.pending):
            if number in kept:
                for folder, name, target in group:
                    changed.setdefault(folder, {})[name] = target
        found: Tree = {}

        def walk(folder: Folder, path: str) -> None:
            for name, each in ({**folder.durable, **changed.get(folder, {})}).items():
                if isinstance(each, Folder):
                    found[f"{path}{name}"] = None
                    walk(each, f"{path}{name}/")
                elif each is not None:
                    found[f"{path}{name}"] = each

        walk(self.root, "")
        return found


def derived(path: Path | str) -> bool:
    """Whether it is made anew from what is stored, whenever it is needed."""
    return "/releases/" in f"/{path}/"


def happen(change: Change) -> None:
    """The change is durable."""
    folder, name, target = change
    if target is None:
        folder.durable.pop(name, None)
    else:
        folder.durable[name] = target


def content(file: File, state: str) -> bytes:
    """What may be left of content that was not synced."""
    match state:
        case "absent":
            return file.durable
        case "torn":
            half = len(file.now) // 2
            return file.now[:half] + file.durable[half : len(file.now)].ljust(len(file.now) - half, b"\0")
        case _:
            return file.now


def fingerprint(tree: Tree, contents: dict[int, bytes], database: tuple[Path, bytes] | None) -> int:
    """Which survivor it is, whatever is left of what is derived."""
    files = {path: None if file is None else contents.get(id(file), file.durable) for path, file in tree.items() if not derived(path)}
    return hash((frozenset(files.items()), database))


def restore(target: Path, tree: Tree, contents: dict[int, bytes], database: tuple[Path, bytes] | None) -> None:
    """Writes a survivor into an empty folder. A database lasts as the folder does that it lies in."""
    written: dict[int, str] = {}
    for path in sorted(tree):
        file, place = tree[path], f"{target}/{path}"
        if file is None:
            Path(place).mkdir(mode=0o700)
        elif id(file) in written:
            os.link(written[id(file)], place)
        else:
            with open(place, "wb", opener=private) as stream:
                stream.write(contents.get(id(file), file.durable))
            written[id(file)] = place
    if database is not None and (target / database[0]).parent.is_dir():
        (target / database[0]).write_bytes(database[1])


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
