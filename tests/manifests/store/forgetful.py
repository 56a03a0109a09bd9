"""A file system in memory that forgets, as a disk does when its power is cut: `python forgetful.py MOUNTPOINT`.

What was written is read back at once, and lasts only once it was synced: the content of a file by fsync of that file, names that were
made, renamed or removed by fsync of their folder. That is all that POSIX promises, and less than ext4 keeps in its ordered mode, where
the sync of a new file makes its name durable too and names change in order. Modes last at once.

It is told what to do in lines of JSON. Each, {"fails": N, "keeps": P, "seed": S}, mounts it, which it says; when it is unmounted it
forgets, says so, and waits for the next. At the N-th call that changes or syncs something the power goes: whoever called is killed, and
nothing changes after. Of what was not synced each change of a name and each page survives with the chance P; with 0 nothing does.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import random
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PAGE = 4096
PR_SET_PDEATHSIG = 1


@dataclass(eq=False)
class File:
    """Content now, what of it is durable, and the pages that are not."""

    number: int
    mode: int
    now: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    dirty: set[int] = field(default_factory=set)

    def write(self, data: bytes, offset: int) -> None:
        self.resize(max(len(self.now), offset + len(data)))
        self.now[offset : offset + len(data)] = data
        self.dirty.update(range(offset // PAGE, (offset + len(data) - 1) // PAGE + 1))

    def resize(self, size: int) -> None:
        old = len(self.now)
        if size < old:
            del self.now[size:]
            self.dirty.add(size // PAGE)
        else:
            self.now.extend(bytes(size - old))
            self.dirty.update(range(old // PAGE, -(-size // PAGE)))

    def sync(self) -> None:
        self.durable = bytes(self.now)
        self.dirty.clear()

    def forget(self, survives: Callable[[], bool]) -> None:
        size = len(self.now if survives() else self.durable)
        left = bytearray(self.durable[:size].ljust(size, b"\0"))
        for page in sorted(self.dirty):
            if survives():
                part = self.now[page * PAGE : min(size, (page + 1) * PAGE)]
                left[page * PAGE : page * PAGE + len(part)] = part
        self.now = left
        self.sync()


@dataclass(eq=False)
class Folder:
    """Names now, and those that are durable."""

    number: int
    mode: int
    now: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)

    def happen(self, name: str, node: Node | None) -> None:
        """The change is durable."""
        if node is None:
            self.durable.pop(name, None)
        else:
            self.durable[name] = node


@dataclass(eq=False)
class Symlink:
    """Durable with its name."""

    number: int
    mode: int
    target: str


Node = File | Folder | Symlink


class Forgetful:
    """What mfusepy asks of a file system; `caller` gives the process that asks. Raises OSError."""

    use_ns = True

    def __init__(self, caller: Callable[[], int], say: Callable[..., None]) -> None:
        self._caller, self._say = caller, say
        self._nodes: dict[int, Node] = {}
        self._numbers = itertools.count(1)
        self._root = Folder(next(self._numbers), stat.S_IFDIR | 0o755)
        self._pending: list[list[tuple[Folder, str, Node | None]]] = []
        """Changes of names that are not durable; those of one list happen together."""

    # ---- power

    def begin(self, fails: int = 0, keeps: float = 0.0, seed: int = 0) -> None:
        self.changes, self.dark = 0, False
        self._fails, self._keeps, self._chance = fails, keeps, random.Random(seed)

    def forget(self) -> None:
        for group in self._pending:
            if self._survives():
                for folder, name, node in group:
                    folder.happen(name, node)
        self._pending.clear()
        self._nodes.clear()
        for node in {node.number: node for node in self._walk(self._root)}.values():
            if isinstance(node, File):
                node.forget(self._survives)
            elif isinstance(node, Folder):
                node.now = dict(node.durable)

    def _survives(self) -> bool:
        return self._chance.random() < self._keeps

    def _walk(self, folder: Folder) -> Iterator[Node]:
        yield folder
        for node in folder.durable.values():
            if isinstance(node, Folder):
                yield from self._walk(node)
            else:
                yield node

    def _power(self) -> None:
        """Before each call that changes or syncs. What the kernel writes back of mapped memory has no caller and is not counted."""
        caller = self._caller()
        if caller and not self.dark:
            self.changes += 1
            if self.changes == self._fails:
                self.dark = True
                os.kill(caller, signal.SIGKILL)
        if self.dark:
            raise OSError(errno.EIO, "no power")

    # ---- names

    def _find(self, path: str) -> Node:
        node: Node = self._root
        for part in filter(None, path.split("/")):
            if not isinstance(node, Folder) or part not in node.now:
                raise OSError(errno.ENOENT, path)
            node = node.now[part]
        return node

    def _place(self, path: str) -> tuple[Folder, str]:
        parent, _, name = path.rpartition("/")
        folder = self._find(parent)
        assert isinstance(folder, Folder)
        return folder, name

    def _change(self, *changes: tuple[str, Node | None]) -> None:
        group = []
        for path, node in changes:
            folder, name = self._place(path)
            if node is None:
                del folder.now[name]
            else:
                folder.now[name] = node
            group.append((folder, name, node))
        self._pending.append(group)

    def _opened(self, node: Node) -> int:
        self._nodes[node.number] = node
        return node.number

    def _file(self, path: str | None, handle: int | None) -> File:
        node = self._nodes[handle] if handle else self._find(path or "/")
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, path)
        return node

    def init(self, path: str) -> None:
        self._say(mounted=True)

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, int]:
        node = self._nodes[fh] if fh else self._find(path or "/")
        size = len(node.now) if isinstance(node, File) else 0
        mine = {"st_uid": os.geteuid(), "st_gid": os.getegid(), "st_nlink": 1, "st_blksize": PAGE}
        return mine | {"st_mode": node.mode, "st_ino": node.number, "st_size": size, "st_blocks": -(-size // 512)}

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": PAGE, "f_frsize": PAGE, "f_blocks": 1 << 20, "f_bfree": 1 << 19, "f_bavail": 1 << 19, "f_namemax": 255}

    def readdir(self, path: str | None, fh: int) -> list[tuple[str, dict[str, int], int]]:
        folder = self._nodes[fh]
        assert isinstance(folder, Folder)
        nodes = {".": folder, "..": folder} | folder.now
        # A name whose number is 0 is skipped by the C library.
        return [(name, {"st_ino": node.number, "st_mode": node.mode}, 0) for name, node in nodes.items()]

    def opendir(self, path: str) -> int:
        return self._opened(self._find(path))

    def mkdir(self, path: str, mode: int) -> None:
        self._power()
        self._change((path, Folder(next(self._numbers), stat.S_IFDIR | mode)))

    def rmdir(self, path: str) -> None:
        self._power()
        folder = self._find(path)
        if isinstance(folder, Folder) and folder.now:
            raise OSError(errno.ENOTEMPTY, path)
        self._change((path, None))

    def unlink(self, path: str) -> None:
        self._power()
        self._change((path, None))

    def link(self, target: str, source: str) -> None:
        self._power()
        self._change((target, self._find(source)))

    def symlink(self, target: str, source: str) -> None:
        self._power()
        self._change((target, Symlink(next(self._numbers), stat.S_IFLNK | 0o777, source)))

    def readlink(self, path: str) -> str:
        link = self._find(path)
        assert isinstance(link, Symlink)
        return link.target

    def rename(self, old: str, new: str) -> None:
        """In one folder it happens as a whole; between two, each may lose or keep its part."""
        self._power()
        there, gone = (new, self._find(old)), (old, None)
        if self._place(old)[0] is self._place(new)[0]:
            self._change(there, gone)
        else:
            self._change(there)
            self._change(gone)

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> None:
        self._power()
        folder = self._nodes[fh]
        for group in self._pending:
            for change in group:
                if change[0] is folder:
                    change[0].happen(*change[1:])
        self._pending = [rest for group in self._pending if (rest := [change for change in group if change[0] is not folder])]

    # ---- content

    def create(self, path: str, mode: int) -> int:
        self._power()
        file = File(next(self._numbers), stat.S_IFREG | mode)
        self._change((path, file))
        return self._opened(file)

    def open(self, path: str, flags: int) -> int:
        handle = self._opened(self._find(path))
        if flags & os.O_TRUNC:
            self.truncate(path, 0, handle)
        return handle

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._file(path, fh).now[offset : offset + size])

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        self._power()
        self._file(path, fh).write(data, offset)
        return len(data)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> None:
        self._power()
        self._file(path, fh).resize(length)

    def fallocate(self, path: str | None, mode: int, offset: int, size: int, fh: int) -> None:
        if mode:
            raise OSError(errno.EOPNOTSUPP, path)
        self._power()
        file = self._file(path, fh)
        file.resize(max(len(file.now), offset + size))

    def chmod(self, path: str | None, mode: int) -> None:
        self._power()
        node = self._find(path or "/")
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)

    def utimens(self, path: str | None, times: tuple[int, int] | None = None) -> None:
        """There are no times here."""

    def fsync(self, path: str | None, datasync: int, fh: int) -> None:
        self._power()
        self._file(path, fh).sync()


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main(mountpoint: str) -> None:
    # Whatever becomes of the tests: then libfuse unmounts, and there is no next line.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        import mfusepy
    except (ImportError, OSError) as error:
        say(refused=str(error))
        return
    system = Forgetful(lambda: int(mfusepy.fuse_get_context()[2]), say)
    # What the kernel remembers of names and contents goes with each mount.
    options = {"hard_remove": True, "use_ino": True, "entry_timeout": 60, "attr_timeout": 60}
    for line in sys.stdin:
        system.begin(**json.loads(line))
        try:
            mfusepy.FUSE(system, mountpoint, foreground=True, nothreads=True, fsname="forgetful", **options)
        except RuntimeError as error:
            say(refused=f"libfuse cannot mount: {error}")
            return
        system.forget()
        say(changes=system.changes, dark=system.dark)


if __name__ == "__main__":
    main(sys.argv[1])
