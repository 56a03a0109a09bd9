"""An engine that may have nothing to run: it is there before the first plan, and stays when the last one has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.switch.aside import set_aside
from manifests.errors import ManifestError
from manifests.sync.runtime import Admission, Health, Release, RuntimeRefusal, Shadowed, Staging, Switched, Trial, Verification

if TYPE_CHECKING:
    from flow.executor import Executor
    from flow.plan.value import Plan
    from flow.switch.runtime import ExecutorRuntime

NOTHING = -1
"""The revision of an engine that was given none yet."""
START_S = 120.0
"""How long workers may take to load their models."""
DRAIN_S = 10.0
"""How long frames in flight may take to come out."""

Out = Mapping[str, Sequence[str]]


class Host:
    """A `manifests.sync.runtime.Runtime`. What follows a plan that runs is its runtime's work; the first plan and the last are done here.

    `bind` and `out` are this device's own sources and sinks; what a release has no stream or output for is left out. `say` hears of
    what happens.
    """

    def __init__(self, *, bind: Mapping[str, str], out: Out, workers: str, link: str, say: Callable[[str], None]) -> None:
        self._bind, self._out, self._workers, self._link, self._say = bind, out, workers, link, say
        self._runtime: ExecutorRuntime | None = None
        self._revision, self._last_staged = NOTHING, NOTHING
        self._staged: tuple[Release, Plan | None] | None = None
        self._verified: Verification | None = None
        self._lock = threading.Lock()
        self._since = time.monotonic()

    # ---- before the switch

    def admit(self, release: Release) -> Admission:
        """Whether it would fit."""
        runtime = self._followed(release)
        if runtime is not None:
            return runtime.admit(release)
        try:
            plan = self._plan(release.manifests)
        except ManifestError as error:
            return Admission(release.revision, False, False, 0, 0, problems=tuple(str(error).splitlines()))
        if plan is None:
            return Admission(release.revision, True, True, 0, 0)
        return Admission(release.revision, True, True, plan.ram_bytes, plan.shared_memory_bytes)

    def stage(self, release: Release) -> Staging:
        """Makes its plan and, beside one that runs, loads it."""
        runtime = self._followed(release)
        with self._lock:
            self._staged = self._verified = None
        if runtime is not None:
            return runtime.stage(release)
        if release.revision < self._last_staged:
            raise RuntimeRefusal(f"expected a revision of at least {self._last_staged}, which was staged last, got {release.revision}")
        try:
            plan = self._plan(release.manifests)
            if plan is not None:
                from flow.prepare import ready

                ready(plan)
        except Exception as error:
            return Staging(release.revision, "", False, tuple(str(error).splitlines()) or (type(error).__name__,))
        self._last_staged = release.revision
        with self._lock:
            self._staged = release, plan
        return Staging(release.revision, "" if plan is None else plan.digest, True)

    def verify(self, revision: int) -> Verification:
        """Replays the golden clips of what is staged."""
        staged = self._staged
        if staged is None:
            return self._running(f"revision {revision} to be staged").verify(revision)
        if staged[0].revision != revision:
            raise RuntimeRefusal(f"expected revision {revision} to be staged, got {staged[0].revision}; stage it first")
        if self._verified is None:
            compared, problems = 0, []
            for business, folder in sorted(staged[0].golden.items()):
                cases, different = replay(staged[0], business, folder)
                compared += cases
                problems += [f"{business}: {each}" for each in different]
            self._verified = Verification(revision, not problems, compared, tuple(problems))
        return self._verified

    def shadow(self, trial: Trial) -> Shadowed:
        """Tries out what a release changes beside what runs; where nothing runs there is nothing to compare with."""
        runtime = self._followed(trial.release)
        return Shadowed(trial.release.revision, "done") if runtime is None else runtime.shadow(trial)

    # ---- the switch

    def switch(self, revision: int, *, keep_previous: bool = True) -> Switched:
        """Starts what is staged where nothing runs, ends what runs where nothing is to run, and cuts over otherwise."""
        with self._lock:
            staged = self._staged
            if staged is None:
                return self._running(f"revision {revision} to be staged").switch(revision, keep_previous=keep_previous)
            if staged[0].revision != revision:
                raise RuntimeRefusal(f"expected revision {revision} to be staged, got {staged[0].revision}; stage it first")
            self._staged = None
            before = self._digest()
            self._end()
            self._revision = NOTHING
            if staged[1] is not None:
                self._start(staged[1], revision)
            self._revision, self._since = revision, time.monotonic()
            return Switched(
                revision, self._digest(), before, (), (), {}, added=_names(staged[1]), removed=(), last_old={}, first_new={},
                gap_ns=0, lost=0, memory_peak_bytes=0,
            )  # fmt: skip

    def abort(self, revision: int) -> Switched | None:
        """Drops what is staged, or goes back to what ran before, where that is still there."""
        with self._lock:
            if self._staged is not None and self._staged[0].revision == revision:
                self._staged = None
                return None
            return self._running(f"revision {revision} to be staged or on probation").abort(revision)

    def settle(self, revision: int) -> None:
        """What was kept of the release before is given up."""
        if self._runtime is not None:
            self._runtime.settle(revision)
        elif revision != self._revision:
            raise RuntimeRefusal(f"expected the running revision {self._revision}, got {revision}")

    def health(self) -> Health:
        """How it goes."""
        if self._runtime is not None:
            return self._runtime.health()
        since = time.monotonic() - self._since
        return Health(self._revision, "", "running", since, {}, {}, {}, 0, 0, 0, {}, 0)

    # ---- the run

    @property
    def failed(self) -> str:
        """Why the run ended by itself; empty where it goes on, or came to its end."""
        runtime = self._runtime
        return (runtime.run.failed or "") if runtime is not None and runtime.run.ended else ""

    def close(self) -> None:
        """Sources stop, frames in flight come out, and the run ends."""
        with self._lock:
            self._end()

    def _running(self, expected: str) -> ExecutorRuntime:
        if self._runtime is None:
            raise RuntimeRefusal(f"expected {expected}, got an engine that runs nothing; stage it first")
        return self._runtime

    def _followed(self, release: Release) -> ExecutorRuntime | None:
        """Whose plan this release follows; None where it is the first or the last one."""
        runtime = self._runtime
        if runtime is None or runtime.run.ended or not _businesses(release):
            return None
        return runtime

    def _start(self, plan: Plan, revision: int) -> None:
        from flow.executor import Executor, RunError
        from flow.switch.runtime import ExecutorRuntime

        run = Executor(plan, on_event=self._told)
        try:
            set_aside(target for targets in self._out.values() for target in targets)
            run.start()
        except (RunError, OSError) as error:
            raise RuntimeRefusal(str(error)) from error
        if not run.wait_running(START_S) or run.failed:
            why = run.failed or f"expected workers that are ready within {START_S:g} s, got some that are not"
            run.stop()
            raise RuntimeRefusal(why)
        threading.Thread(target=_let_go, args=(run,), name="ace-results", daemon=True).start()
        self._runtime = ExecutorRuntime(run, plan=self._planned, replay=replay, revision=revision)

    def _end(self) -> None:
        from flow.cli.figures import summary

        if self._runtime is None:
            return
        runtime, self._runtime = self._runtime, None
        self._last_staged = max(self._last_staged, runtime.revision)
        runtime.end_shadow()
        runtime.run.drain()
        runtime.run.wait(DRAIN_S)
        runtime.run.stop()
        self._say("\n".join(summary(runtime.run.report() | {"running_seconds": 0.0}, {})))

    def _digest(self) -> str:
        return "" if self._runtime is None else self._runtime.run.running_plan.digest

    def _told(self, event: Mapping[str, Any]) -> None:
        if "message" in event:
            self._say(event["message"])

    # ---- plans

    def _plan(self, paths: Sequence[Path]) -> Plan | None:
        """The plan of these manifests; None where they have no business. Raises ManifestError."""
        return self._planned(paths, None) if any(_is_business(path) for path in paths) else None

    def _planned(self, paths: Sequence[Path], memory: int | None) -> Plan:
        import flow
        import manifests

        device = next((path for path in paths if path.parent.name == "device"), None)
        streams = () if device is None else _streams(device)
        deployment = manifests.load(*paths, bind={name: source for name, source in self._bind.items() if name in streams})
        known = {name for use in deployment.uses for output in use.business.outputs for name in (output, f"{use.business.name}.{output}")}
        out = {name: targets for name, targets in self._out.items() if name in known}
        return flow.make_plan(deployment, out=out, workers=self._workers, link=self._link, memory=memory, live=True)  # type: ignore[arg-type]


def replay(release: Release, business: str, folder: Path) -> tuple[int, Sequence[str]]:
    """Plays a golden clip of one business of a release: frames compared, and what differed."""
    from flow.golden import replay as play
    from manifests.bundle.golden import read_clip

    clip = read_clip(folder)
    mine = [path for path in release.manifests if path.parent.name == f"business-{business}" or path.parent.name.startswith("model-")]
    return max(map(len, clip.frames.values())), play(clip, folder, mine)


def _is_business(path: Path) -> bool:
    return path.parent.name.startswith("business-")


def _businesses(release: Release) -> list[Path]:
    return [path for path in release.manifests if _is_business(path)]


def _streams(device: Path) -> set[str]:
    import json

    return set(json.loads(device.read_bytes())["streams"])


def _names(plan: Plan | None) -> tuple[str, ...]:
    return () if plan is None else tuple(dict.fromkeys(name for node in plan.nodes for name in node.names))


def _let_go(run: Executor) -> None:
    """Takes in the results of outputs that go nowhere, so that nothing waits for somebody to read them."""
    for _ in run.results():
        pass
