"""The folder for signed files: whoever brings one on a stick copies it there, and it is gone when the device is done with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from manifests.bundle.canonical import BundleError
from manifests.store.effects import Effects
from manifests.sync.offline import Update, update_of
from manifests.sync.trust import Untrusted

SUFFIX = ".ace"


@dataclass
class _Seen:
    """A file as it was at the last look: one that changes is still being copied."""

    stamp: tuple[int, int]
    taken: bool = False


class Inbox:
    """Looks through a folder.

    `take(update, path)` gives a desired state to the machine and raises Untrusted, `refuse(name, why)` reports a file that is none,
    `needed(path)` says whether the machine may still read from it.
    """

    def __init__(
        self, folder: Path, effects: Effects, take: Callable[[Update, Path], None], refuse: Callable[[str, str], None],
        needed: Callable[[Path], bool],
    ) -> None:  # fmt: skip
        self.folder, self._effects, self._take, self._refuse, self._needed = folder, effects, take, refuse, needed
        effects.mkdir(folder)
        self._seen: dict[Path, _Seen] = {}

    def look(self) -> None:
        """Takes what is whole, and removes what is done with. Raises sqlite3.Error, and OSError after the other files had their turn."""
        there = sorted(path for path in self.folder.glob(f"*{SUFFIX}") if path.is_file() and not path.is_symlink())
        self._seen = {path: seen for path, seen in self._seen.items() if path in there}
        problem: OSError | None = None
        for path in there:
            try:
                self._look_at(path)
            except OSError as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _look_at(self, path: Path) -> None:
        state = path.stat()
        stamp = (state.st_size, state.st_mtime_ns)
        seen = self._seen.get(path)
        if seen is None or seen.stamp != stamp:
            self._seen[path] = _Seen(stamp)
        elif not seen.taken:
            self._try(path)
            seen.taken = True  # where the disk did not take it, it stays and is tried again
        elif not self._needed(path):
            self._effects.unlink(path)

    def _try(self, path: Path) -> None:
        try:
            self._take(update_of(path), path)
        except BundleError as error:
            self._refuse(path.name, str(error))
        except Untrusted:
            return  # reported where it was judged
