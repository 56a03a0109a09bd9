"""Lives of a device whose store lies on a file system that forgets: the real store and the real update machine, a process for each life.

`python -m tests.manifests.store.lives` imports everything once and then forks for each line of JSON that comes. A life says, in lines of
JSON too, what it found at first and what it has promised after each step; the last line is how it ended.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import securesystemslib.signer  # noqa: F401  what lives import when they need it is here already
import tuf.ngclient  # noqa: F401

from manifests.bundle.bundle import Bundle
from manifests.store.effects import Effects
from manifests.store.release import release
from manifests.store.store import FACTORY_FILE, Store, install_factory
from manifests.sync.states import State, load
from tests.manifests.store.test_power import RELEASES, Violation, check
from tests.manifests.sync.conftest import Cloud, Engine, Rig, Time, wanted

HOUSE = Path(__file__).parents[3]
STORE = "store"
"""The mountpoint: what lies beside it in the same folder is the cloud's."""
NEEDED = "install Debian's fuse3 and the extra `test`; /dev/fuse has to be there, and the user allowed to mount"


# ---- the device's side


class Unsynced(Effects):
    """Contents are never synced."""

    def sync(self, path: Path) -> None:
        pass


class UnsyncedFolders(Effects):
    """Names are never synced."""

    def sync_folder(self, path: Path) -> None:
        pass


class UnsyncedCommits(Effects):
    """Transactions are not synced, but for the first."""

    def commit(self, connection: sqlite3.Connection) -> None:
        super().commit(connection)
        connection.execute("PRAGMA synchronous = OFF")


EFFECTS = {each.__name__: each for each in (Effects, Unsynced, UnsyncedFolders, UnsyncedCommits)}


def tell(**values: Any) -> None:
    os.write(sys.stdout.fileno(), json.dumps(values).encode() + b"\n")


def promised(store: Store, after: int = 0) -> dict[str, Any]:
    """What nobody may find otherwise later: the reports, of which each state writes one, and the revision below which all is refused."""
    rows = store.database.rows("SELECT seq, body FROM outbox WHERE seq > ? ORDER BY seq", after)
    return {"rows": rows, "floor": int(store.fact("floor", 0))}


def live(place: Path, effects: Effects, releases: int) -> None:
    """From whatever the disk holds through the first so many releases: one that is good, one that goes back, and the next."""
    root = place / STORE
    if not (root / FACTORY_FILE).exists():
        tell(new=True)
        install_factory(root, place / "factory.ace")
    check(root)
    with Store(root, effects=effects) as store:
        if store.lost is not None:
            raise Violation("the database was set aside")
        told = promised(store)
        tell(found=told)
    rig = Rig(root, Time(), Engine(), Cloud(), effects=effects).start()
    seen = max((seq for seq, _ in told["rows"]), default=0)
    for revision, name in enumerate(RELEASES[:releases], 1):
        if told["floor"] > revision:
            continue
        with Bundle(place / f"{name}.ace") as bundle:
            rig.fetcher.add(bundle)
            desired = wanted(bundle, revision)
        rig.engine.figures = {"poison": 1} if name == "bad" else {}
        if not over(rig, revision, name):
            rig.submit(desired)
        for _ in range(2000):
            if over(rig, revision, name):
                break
            rig.updater.step()
            rig.time.at += 30.0
            told = promised(rig.store, seen)
            seen = max((seq for seq, _ in told["rows"]), default=seen)
            tell(told=told)
        else:
            raise Violation(f"revision {revision} does not come to an end: {rig.bodies()[-3:]}")
    rig.engine.figures = {}
    rig.run(State.IDLE)
    rig.run(State.IDLE)
    active = rig.store.generations.role("active")
    assert active is not None
    assert rig.engine.running is not None
    if rig.engine.running.digest != release(rig.store, active.desired, None, revision=1).digest:
        raise Violation("the engine runs something else than the active generation")
    tell(told=promised(rig.store, seen), done=load(rig.store).state.value)
    rig.stop()
    check(root)


def over(rig: Rig, revision: int, name: str) -> bool:
    """Whether this release has come to its end."""
    if rig.updater.is_done(revision):
        return True
    updates = [body for body in rig.bodies() if body["kind"] == "update" and body["revision"] == revision]
    return name == "bad" and any(body["state"] in ("ROLLED_BACK", "FAILED") for body in updates)


# ---- the test's side


class Devices:
    """The process that lives are forked from."""

    def __init__(self) -> None:
        self.process = started("-m", "tests.manifests.store.lives")

    def close(self) -> None:
        ended(self.process)


class Disk:
    """A mounted file system that forgets. `changes`: what was changed or synced between the last two mounts; `dark`: whether that ended it.

    Nothing here touches the mount: who does may have to wait for the file system, and is killed when it fails.
    """

    def __init__(self, place: Path, devices: Devices) -> None:
        self._place, self._devices = place, devices.process
        self._mountpoint = place / STORE
        self._mountpoint.mkdir()
        self.changes, self.dark, self._mounted = 0, False, False
        self.system = started(str(Path(__file__).with_name("forgetful.py")), str(self._mountpoint))

    def mount(self, fails: int = 0, keeps: float = 0.0, seed: int = 0) -> None:
        """With what it still holds; the parameters are those of `forgetful`. Skips the test where nothing can be mounted."""
        if shutil.which("fusermount3") is None:
            pytest.skip(f"FUSE: there is no fusermount3: {NEEDED}")
        answer = ask(self.system, {"fails": fails, "keeps": keeps, "seed": seed})
        if "mounted" not in answer:
            pytest.skip(f"FUSE: {answer.get('refused')}: {NEEDED}")
        self._mounted = True

    def live(self, effects: type[Effects] = Effects, releases: int = len(RELEASES)) -> list[dict[str, Any]]:
        """One life: what it said until it ended or was killed."""
        said = [ask(self._devices, [str(self._place), effects.__name__, releases])]
        while "ended" not in said[-1]:
            said.append(heard(self._devices))
        return said

    def cut(self) -> None:
        """The power is off: what was not synced is gone."""
        self._unmount()
        answer = heard(self.system)
        self.changes, self.dark = answer["changes"], answer["dark"]

    def close(self) -> None:
        """Whatever has happened: no process is left, and no mount."""
        ended(self.system)
        if self._mounted:
            self._unmount()

    def _unmount(self) -> None:
        """Also where a file is still open, or the file system is dead."""
        subprocess.run(["fusermount3", "-u", "-z", str(self._mountpoint)], check=True, capture_output=True, timeout=60)
        self._mounted = False


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOUSE)


def ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    process.wait()


def ask(process: subprocess.Popen[str], value: Any) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write(json.dumps(value) + "\n")
    process.stdin.flush()
    return heard(process)


def heard(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"ended": "the process is gone"}
    return answer


def main() -> None:
    for line in sys.stdin:
        if not (child := os.fork()):
            place, effects, releases = json.loads(line)
            try:
                live(Path(place), EFFECTS[effects](), releases)
            except BaseException as error:
                tell(wrong=f"{type(error).__name__}: {error}", where=traceback.format_exc())
            os._exit(0)
        tell(ended=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
