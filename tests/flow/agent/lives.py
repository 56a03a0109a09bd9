"""Lives of devices whose agents are killed: the real agent, its store, its channel and the protocol of its engine, each in a process.

`python -m tests.flow.agent.lives` imports everything once and forks for each line of JSON that comes: a runner for that device, which
forks its agent, one life after the other, and its engine. What any of them has to say it says in lines of JSON too. The engine keeps the
order of its calls and runs nothing; everything else is what a device runs.
"""

from __future__ import annotations

import _strptime  # noqa: F401  what lives import when they need it is here already
import encodings.idna  # noqa: F401
import gc
import json
import os
import signal
import sqlite3
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h11  # noqa: F401
import httpcore  # noqa: F401
import httpx
import securesystemslib.signer  # noqa: F401
import tuf.api.serialization.json
import tuf.ngclient  # noqa: F401
import zmq.utils.monitor
import zmq.utils.z85  # noqa: F401

from flow.switch.service import Service
from manifests.store import effects as seam
from manifests.store.effects import Effects
from manifests.sync import states, update
from manifests.sync.agent import agent as agent_module
from manifests.sync.agent import process
from manifests.sync.agent.agent import Agent, Settings
from manifests.sync.agent.membership import Membership
from manifests.sync.runtime import RuntimeRefusal
from manifests.sync.states import State
from tests.manifests.sync.conftest import Engine

from .forks import Household, forked

STORE = "store"
MOST_LIVES = 5
ERRED = "the disk has erred"
STRAY = 70
"""The status of an agent that has touched its store, and not through the seam."""


@dataclass(frozen=True)
class Plan:
    """What becomes of a device. `fault` is what its first agent meets in this state: `written`, killed when the state has just been written
    down; `done`, killed when its work is done and not yet written down; `error`, the disk does not write that down, once. `power`: its
    engine dies with it. `offline`: it takes signed files, and its cloud hears of it only afterwards.
    """

    name: str
    place: str
    state: str
    fault: str
    power: bool
    offline: bool
    revision: int
    root: str
    member: str

    @property
    def folder(self) -> Path:
        return Path(self.place)


def tell(plan: Plan, **values: Any) -> None:
    os.write(1, json.dumps({"name": plan.name, **values}).encode() + b"\n")


# ---- the agent


class Faulty(Effects):
    """Meets its fault where the plan says."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._at, self._over = plan, State.IDLE.value, False

    def commit(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT state FROM machine WHERE id = 1").fetchone()
        now = State.IDLE.value if row is None else str(row[0])
        left = now != self._at == self._plan.state
        if left and self._plan.fault == "done":
            os.kill(os.getpid(), signal.SIGKILL)
        if left and self._plan.fault == "error" and not self._over:
            self._over = True
            tell(self._plan, said=ERRED)
            raise sqlite3.OperationalError("disk I/O error")
        super().commit(connection)
        come = connection.execute("SELECT 1 FROM wanted").fetchone() is not None if now == State.IDLE else now != self._at
        if come and now == self._plan.state and self._plan.fault == "written":
            os.kill(os.getpid(), signal.SIGKILL)
        self._at = now


class Watched(Agent):
    """Ends in order when what was wanted runs, and the cloud has all there is to say."""

    def watch(self, revision: int, heard: bool) -> None:
        self._revision, self._heard = revision, heard

    def _turn(self) -> None:
        super()._turn()
        if self._state is State.IDLE and self.updater.is_done(self._revision) and not (self._heard and self.updater.reports(1)):
            self.stop()


CERTIFICATES = httpx.create_ssl_context()
"""Of the system: reading them takes longer than a whole life."""


def quick() -> None:
    """What a device waits for does not last long here."""
    httpx._transports.default.create_ssl_context = lambda *_, **__: CERTIFICATES  # type: ignore[attr-defined]
    states.BACKOFF.update({True: (0.1, 1.0), False: (0.1, 1.0)})  # type: ignore[attr-defined]
    update.PAUSE_S, update.RECONCILE_S = 0.02, 0.1
    agent_module.LOOK_S, process.FIRST_WAIT_S = 0.03, 0.05


CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate", "os.utime"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
LOCKS = ("/lock", "/engine.lock")
"""They are opened to be locked, and the engine writes into its own."""


def guard(plan: Plan) -> None:
    """From here on, who changes something in the store, and not through the seam, ends at once. SQLite's own files are not seen."""
    below = str(plan.folder / STORE) + os.sep

    def hear(event: str, values: tuple[Any, ...]) -> None:
        if event not in CHANGES and not (event == "open" and values[2] & WRITES):
            return
        paths = [os.fsdecode(value) for value in values if isinstance(value, str | bytes | os.PathLike)]
        if not any(path.startswith(below) and not path.endswith(LOCKS) for path in paths):
            return
        if event == "os.mkdir" and Path(paths[0]).is_dir():
            return  # nothing happens
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != seam.__file__:
            frame = frame.f_back  # type: ignore[assignment]
        if frame is None:
            tell(plan, wrong=f"{event} {paths} not through the seam", where="".join(traceback.format_stack()))
            os._exit(STRAY)

    sys.addaudithook(hear)


def live(plan: Plan, first: bool, connected: bool) -> None:
    """One life of the agent."""
    quick()
    guard(plan)
    member = Membership.model_validate_json(Path(plan.member).read_bytes()) if connected else None
    settings = Settings(plan.folder / STORE, ["engine"], member=member, root=Path(plan.root).read_bytes())
    agent = Watched(settings, lambda what: tell(plan, said=what[:500]), Faulty(plan) if first else Effects())
    agent.watch(plan.revision, connected)
    agent.run()


# ---- the engine


class Served(Engine):
    """Errs where a file of this name is beside the store, once: `refuse`, `poison`, and `kill-CALL`, which kills the agent that calls."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _marked(self, name: str) -> bool:
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def _fault(self, name: str) -> Any:
        if self._marked(f"kill-{name}"):
            os.kill(int((self._folder / "agent").read_text()), signal.SIGKILL)
        if name == "admit" and self._marked("refuse"):
            raise RuntimeRefusal("no")
        if name == "health" and self.before is not None:
            self.figures = {"poison": 1} if self._marked("poison") else {}
        return None


def engine(folder: Path, path: Path, lock: int) -> None:
    """As `python -m flow.switch` would be."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    Service(Served(folder), path)
    while True:
        signal.pause()


# ---- the runner


def run(plan: Plan) -> None:
    """One device: its agent, again and again until it ends in order, and its engine."""
    failed = partial(fail, plan)
    home = Household(lambda command, lock: engine(plan.folder, Path(command[-3]), lock), failed)
    reported = False
    try:
        for number in range(MOST_LIVES):
            agent = partial(live, plan, number == 0, reported or not plan.offline)
            status = home.live(agent, lambda pid: (plan.folder / "agent").write_text(str(pid)))
            tell(plan, died=status)
            if status == -signal.SIGKILL and plan.power:
                home.end()
            elif status == 0 and plan.offline and not reported:
                reported = True
            elif status != -signal.SIGKILL:
                return
    finally:
        home.end()
        tell(plan, over=True)


def fail(plan: Plan, error: BaseException) -> None:
    tell(plan, wrong=f"{type(error).__name__}: {error}", where="".join(traceback.format_exception(error)))


def main() -> None:
    gc.freeze()
    for line in sys.stdin:
        plan = Plan(**json.loads(line))
        forked(partial(run, plan), partial(fail, plan))


if __name__ == "__main__":
    main()
