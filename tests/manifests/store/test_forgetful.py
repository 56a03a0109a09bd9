"""The real store and the real update machine, in processes of their own, on a file system that forgets what was not synced."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manifests.bundle.bundle import Bundle
from manifests.store.effects import Effects
from tests.manifests.store.lives import STORE, Devices, Disk, Unsynced, UnsyncedCommits, UnsyncedFolders
from tests.manifests.store.test_power import RELEASES
from tests.manifests.sync.conftest import bundles, place

__all__ = ["bundles", "place"]

pytestmark = pytest.mark.timeout(120)

SEEDS = range(1, 31) if os.environ.get("ACE_EVERY_CUT") else [18]
CUTS = 12
"""Of one device on its way to the last release. Without any it changes or syncs something 1500 times, and 60 to 120 times at each start."""


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    devices = Devices()
    yield devices
    devices.close()


@pytest.fixture
def disk(devices: Devices, place: Path) -> Iterator[Disk]:
    disk = Disk(place, devices)
    yield disk
    disk.close()


@pytest.fixture
def released(place: Path, bundles: Callable[..., Bundle]) -> None:
    """What the device comes with, and what the cloud has for it."""
    bundles("factory")
    for number, name in enumerate(RELEASES, 1):
        bundles(name, model=f"1.{number}.0", weights=name.encode() * 5000, golden=True)


class Witness:
    """Holds the device to what it has promised to the world outside, whatever becomes of its disk."""

    def __init__(self) -> None:
        self.rows: dict[int, str] = {}
        self.floor = 0
        self.installed = False
        self.done = ""

    def hear(self, life: list[dict[str, Any]]) -> None:
        for said in life:
            assert "wrong" not in said, said["where"]
            assert not ("new" in said and self.installed), "the factory file is gone"
            if "found" in said:
                self.installed = True
                found = dict(said["found"]["rows"])
                assert {seq: found.get(seq) for seq in self.rows} == self.rows, "reports were lost"
                assert said["found"]["floor"] >= self.floor, "an older revision would be taken"
            for promise in (said[name] for name in ("found", "told") if name in said):
                self.rows |= dict(promise["rows"])
                self.floor = promise["floor"]
            self.done = said.get("done", self.done)

    def states(self) -> list[str]:
        return [body["state"] for body in map(json.loads, self.rows.values()) if body["kind"] == "update"]


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize("seed", SEEDS)
def test_power_cuts_over_a_whole_update(disk: Disk, seed: int) -> None:
    """At any call of SQLite's or of the store's own; what was not synced is lost, or some of it is."""
    chance, witness = random.Random(seed), Witness()
    cuts = 0
    while cuts < CUTS and not witness.done:
        disk.mount(chance.randint(1, 400), keeps=chance.choice((0.0, 0.5)), seed=chance.randrange(1 << 30))
        witness.hear(disk.live())
        disk.cut()
        cuts += disk.dark
    for _ in range(2):
        disk.mount()
        witness.hear(disk.live())
        disk.cut()
    assert witness.done == "IDLE"
    assert witness.states()[-1] == "COMMITTED"
    assert cuts > 3


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    ("effects", "lost"),
    [
        (Unsynced, "trusted and torn"),
        (UnsyncedFolders, "trusted and torn"),
        (UnsyncedCommits, "reports were lost"),
    ],
)
def test_a_store_that_does_not_sync_loses(disk: Disk, effects: type[Effects], lost: str) -> None:
    """So a sync that is missing would be found."""
    witness = Witness()
    disk.mount()
    witness.hear(disk.live(effects, releases=1))
    assert witness.done == "IDLE"
    disk.cut()
    disk.mount()
    with pytest.raises(AssertionError, match=lost):
        witness.hear(disk.live(releases=1))


WRITER = """
import json, mmap, os, pathlib, sys

def write(name, data):
    with open(name, "wb") as file:
        file.write(data)

def sync(name):
    handle = os.open(name, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)

for name in ("kept", "appended", "cut", "moved", "removed", "mapped"):
    write(name, b"old".ljust(4096))
    sync(name)
os.mkdir("folder")
os.symlink("kept", "link")
sync(".")
with open("appended", "ab") as file:
    file.write(b" new")
os.truncate("cut", 3)
os.rename("moved", "elsewhere")
os.unlink("removed")
os.link("kept", "again")
write("unsynced", b"lost")
write("unnamed", b"lost")
sync("unnamed")
write("folder/named", b"")
sync("folder")
with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 4096) as memory:
    memory[:3] = b"new"
    memory.flush()
    os.fsync(file.fileno())
"""
READER = """
import json, pathlib
found = {str(path): path.read_text().strip() for path in pathlib.Path().rglob("*") if path.is_file()}
assert not pathlib.Path("again").exists() or pathlib.Path("again").samefile("kept")
print(json.dumps(found))
"""


def test_what_was_not_synced_is_gone(disk: Disk, place: Path) -> None:
    """Everything is read back as it was written, until the power is cut."""

    def run(script: str) -> dict[str, str]:
        done = subprocess.run([sys.executable, "-c", script], cwd=place / STORE, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, str] = json.loads(done.stdout)
        return found

    durable = {"kept": "old", "link": "old", "appended": "old", "cut": "old", "mapped": "new", "folder/named": ""}
    disk.mount()
    assert run(WRITER + READER) == durable | {
        "appended": "old".ljust(4096) + " new", "elsewhere": "old", "again": "old", "unsynced": "lost", "unnamed": "lost"
    }  # fmt: skip
    disk.cut()
    disk.mount()
    assert run(READER) == durable | {"moved": "old", "removed": "old"}


def test_the_power_goes_at_a_call(disk: Disk, place: Path) -> None:
    """Who makes it is killed, and nothing changes any more."""
    disk.mount(fails=2)
    done = subprocess.run([sys.executable, "-c", "open('a', 'x'); open('b', 'x')"], cwd=place / STORE, timeout=60)
    assert done.returncode == -signal.SIGKILL
    disk.cut()
    assert (disk.changes, disk.dark) == (2, True)


def test_a_file_system_that_dies_leaves_nothing_behind(disk: Disk, place: Path) -> None:
    """Whoever waits for it is told."""
    disk.mount()
    disk.system.send_signal(signal.SIGSTOP)
    with subprocess.Popen([sys.executable, "-c", f"open({str(place / STORE / 'a')!r}, 'x')"], stderr=subprocess.PIPE) as waiting:
        disk.system.kill()
        _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert b"OSError" in said or b"ConnectionAbortedError" in said
    disk.close()
    assert str(place) not in Path("/proc/self/mounts").read_text()
