"""Results of an engine that has ended: the next one writes files of its own, and those of the last ones stay beside them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

KEPT = 9
"""Files of earlier engines: NAME.1 is the last one's."""


def set_aside(targets: Iterable[str]) -> None:
    """Renames each file among these sinks that holds something: NAME to NAME.1, NAME.1 to NAME.2, and so on. Raises OSError."""
    for target in targets:
        path = Path(target.removeprefix("file:"))
        if ":" in str(path) or not _is_full(path):
            continue
        for number in range(KEPT, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            if newer.exists():
                newer.replace(older)


def _is_full(path: Path) -> bool:
    try:
        state = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode) and state.st_size > 0
