"""Whether now is a good moment to switch: what the device's own manifest and the programs beside it say."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from manifests.bundle.canonical import BundleError
from manifests.store.release import Mismatch, device_of
from manifests.store.store import Store
from manifests.sync.desired import Desired

LOCKS = "locks"
"""The folder of the store in which a file, whatever its name, keeps updates from being switched to."""
MOST_SAID = 200


class Gate:
    """Asked before a switch. `day` gives the device's local time; a window is one of that, so that a clock that is wrong by years opens
    and closes it all the same.
    """

    def __init__(self, store: Store, device_file: Path | None, day: Callable[[], time.struct_time] = time.localtime) -> None:
        self._store, self._device_file, self._day = store, device_file, day
        self.folder = store.root / LOCKS
        store.effects.mkdir(self.folder)

    def __call__(self, running: Desired) -> str:
        """Why not now; empty where nothing stands against it. Raises OSError."""
        return self._locked() or self._outside(running)

    def _locked(self) -> str:
        for lock in sorted(self.folder.iterdir() if self.folder.is_dir() else ()):
            why = ""
            if lock.is_file() and not lock.is_symlink():
                with lock.open("rb") as file:
                    why = " ".join(file.read(MOST_SAID).decode(errors="replace").split())
            return f"{lock} is there{why and ': ' + why}"
        return ""

    def _outside(self, running: Desired) -> str:
        try:
            device = device_of(self._store, running, self._device_file)
        except (Mismatch, BundleError):
            return ""  # said where it is loaded
        if device is None or not device.maintenance:
            return ""
        now = self._day()
        minute = 60 * now.tm_hour + now.tm_min
        if any(_within(window, minute) for window in device.maintenance):
            return ""
        return f"{device.name} is changed at {' or '.join(device.maintenance)} alone"


def _within(window: str, minute: int) -> bool:
    """Whether a minute of the day lies in `22:00-05:00`; one that ends where it begins is the whole day."""
    begin, end = (60 * int(each[:2]) + int(each[3:]) for each in window.split("-"))
    return begin <= minute < end if begin < end else minute >= begin or minute < end
