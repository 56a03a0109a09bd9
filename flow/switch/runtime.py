"""A running Executor as the edge agent sees it: `manifests.sync.runtime.Runtime`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import manifests
from devices.cpu import available_memory
from flow.courtesy import courteously
from flow.executor import Executor
from flow.plan.make import make_plan
from flow.plan.shadow import ShadowError
from flow.plan.value import Plan
from flow.switch.admission import need
from flow.switch.error import SwitchError
from flow.switch.health import Since, measured, now
from flow.switch.proof import Proof
from flow.switch.shadow import ShadowRun
from flow.switch.succession import Misfit
from manifests.errors import ManifestError
from manifests.sync.runtime import Admission, Health, Release, RuntimeRefusal, Shadowed, Staging, Switched, Trial, Verification

Answer = TypeVar("Answer")
Planner = Callable[[Sequence[Path], int], Plan]
"""Makes the plan of manifests for so many bytes of memory. Raises ManifestError."""
Replay = Callable[[Release, str, Path], tuple[int, Sequence[str]]]
"""Plays the golden clip of a business (its folder): cases compared, and what differed."""


class ExecutorRuntime:
    """Answers by revision: asked again, it gives the same answer.

    `plan` makes plans as this run needs them (default: with the run's own kind of workers and links, results to the Python caller);
    `replay` plays golden clips; `revision` is that of the plan that runs.
    """

    def __init__(self, run: Executor, *, plan: Planner | None = None, replay: Replay | None = None, revision: int = 0) -> None:
        self.run, self.revision = run, revision
        self._plan, self._replay = plan or self._planned, replay
        self._answers: dict[tuple[str, int], Any] = {}
        self._last_staged = revision
        self._staged: tuple[Release, Plan] | None = None
        self._previous: tuple[int, Plan] | None = None
        self._since = Since()
        self._shadow: ShadowRun | None = None

    def _planned(self, paths: Sequence[Path], memory: int) -> Plan:
        running = self.run.running_plan
        return make_plan(manifests.load(*paths), live=True, workers=running.workers, link=running.link, memory=memory)

    def _once(self, what: str, revision: int, answer: Callable[[], Answer]) -> Answer:
        key = what, revision
        if key not in self._answers:
            self._answers[key] = answer()
        return cast("Answer", self._answers[key])

    # ---- before the switch

    def admit(self, release: Release) -> Admission:
        """Whether it would fit: beside what runs, or, after a pause, in its place. Loads and allocates nothing."""
        return self._once("admit", release.revision, lambda: self._admit(release)[0])

    def _admit(self, release: Release) -> tuple[Admission, Plan | None]:
        free = available_memory()
        try:
            plan = courteously(lambda: self._plan(release.manifests, 1 << 62))
            needed = need(self.run.succession(plan))
        except (ManifestError, Misfit, SwitchError) as error:
            return Admission(release.revision, False, False, 0, 0, problems=tuple(str(error).splitlines())), None
        beside = needed.coming <= free
        admitted = beside or needed.coming <= free + needed.leaving
        problem = (
            f"expected a plan that fits into the {free} bytes of memory that are available and the {needed.leaving} that the running one "
            f"gives back, got one that needs {needed.coming} bytes; use fewer or smaller streams, models or businesses"
        )
        problems = () if admitted else (problem,)
        gap = 0.0 if beside else needed.load_s
        return Admission(release.revision, admitted, beside, plan.ram_bytes, plan.shared_memory_bytes, gap, problems), plan

    def stage(self, release: Release) -> Staging:
        """Loads it beside what runs (or, where both do not fit, notes it for the switch). Raises RuntimeRefusal for an old revision."""
        if release.revision < self._last_staged:
            raise RuntimeRefusal(f"expected a revision of at least {self._last_staged}, which was staged last, got {release.revision}")
        return self._once("stage", release.revision, lambda: self._stage(release))

    def _stage(self, release: Release) -> Staging:
        admission, plan = self._admit(release)
        if plan is None or not admission.admitted:
            return Staging(release.revision, "", False, admission.problems)
        self._last_staged, self._staged = release.revision, None
        self.end_shadow()
        self._answers.pop(("abort", release.revision), None)
        try:
            self.run.settle()
            self._previous = None
            self.run.stage(plan, beside=admission.beside)
        except SwitchError as error:
            return Staging(release.revision, plan.digest, False, (str(error),))
        self._staged = release, plan
        return Staging(release.revision, plan.digest, True)

    def verify(self, revision: int) -> Verification:
        """Replays the golden clips of what is staged. Raises RuntimeRefusal where there is none, or nothing to replay it with."""
        return self._once("verify", revision, lambda: self._verify(revision))

    def _verify(self, revision: int) -> Verification:
        release, _ = self._expected(revision)
        if not release.golden:
            raise RuntimeRefusal(f"revision {revision}: expected a golden clip to compare with, got none; pack one, or switch without it")
        if self._replay is None:
            raise RuntimeRefusal(f"revision {revision}: expected an engine that can replay golden clips, got one that was not told how")
        compared, problems = 0, []
        for business, folder in sorted(release.golden.items()):
            cases, differences = courteously(partial(self._replay, release, business, folder))
            compared += cases
            problems += [f"{business}: {difference}" for difference in differences]
        return Verification(revision, not problems, compared, tuple(problems))

    def _expected(self, revision: int) -> tuple[Release, Plan]:
        if self._staged is None or self._staged[0].revision != revision:
            staged = "none" if self._staged is None else str(self._staged[0].revision)
            raise RuntimeRefusal(f"expected revision {revision} to be staged, got {staged}; stage it first")
        return self._staged

    def shadow(self, trial: Trial) -> Shadowed:
        """Tries out what a release changes beside what runs. Raises RuntimeRefusal where that cannot be begun."""
        revision = trial.release.revision
        if self._shadow is None or self._shadow.revision != revision:
            self.end_shadow()
            if self._staged is not None:
                raise RuntimeRefusal(f"expected nothing staged, got revision {self._staged[0].revision}; try it out before you stage it")
            try:
                plan = courteously(lambda: self._plan(trial.release.manifests, 1 << 62))
                self._shadow = ShadowRun(self.run, plan, revision, share=trial.share, cpu=trial.cpu, seconds=trial.seconds)
            except (ManifestError, Misfit, SwitchError, ShadowError) as error:
                raise RuntimeRefusal(f"revision {revision} cannot be tried out: {error}") from error
        return self._shadow.figures()

    def end_shadow(self) -> None:
        """Ends a trial that is under way, and waits for that."""
        if self._shadow is not None:
            self._shadow.end()
            self._shadow = None

    # ---- the switch

    def switch(self, revision: int, *, keep_previous: bool = True) -> Switched:
        """Cuts over to what is staged; the answer proves what happened. Raises RuntimeRefusal, and then the old plan runs on."""
        return self._once("switch", revision, lambda: self._switch(revision, keep_previous))

    def _switch(self, revision: int, keep_previous: bool) -> Switched:
        self._expected(revision)
        before = self.revision, self.run.plan
        try:
            proof = self.run.switch(keep_previous=keep_previous)
        except SwitchError as error:
            self._staged = None
            raise RuntimeRefusal(str(error)) from error
        self._staged, self._previous, self.revision = None, before, revision
        self._since = now(self.run)
        return _switched(revision, proof)

    def abort(self, revision: int) -> Switched | None:
        """Drops what is staged (None), or goes back to the plan before. Raises RuntimeRefusal where neither is there."""
        return self._once("abort", revision, lambda: self._abort(revision))

    def _abort(self, revision: int) -> Switched | None:
        if self._shadow is not None and self._shadow.revision == revision:
            self.end_shadow()
            if self._staged is None and self.revision != revision:
                return None
        if self._staged is not None and self._staged[0].revision == revision:
            self.run.unstage()
            self._staged = None
            self._forget(revision)
            return None
        if self._previous is None or self.revision != revision:
            raise RuntimeRefusal(f"expected revision {revision} to be staged or on probation, got neither; stage the one to go back to")
        older, plan = self._previous
        try:
            self.run.stage(plan, beside=need(self.run.succession(plan)).coming <= available_memory())
            proof = self.run.switch()
        except (SwitchError, Misfit) as error:
            raise RuntimeRefusal(f"the way back to revision {older}: {error}") from error
        self.run.settle()
        self._previous, self.revision = None, older
        self._since = now(self.run)
        self._forget(revision)
        return _switched(revision, proof)

    def _forget(self, revision: int) -> None:
        """A revision that was given up may be staged again."""
        for what in ("stage", "verify", "switch"):
            self._answers.pop((what, revision), None)

    def settle(self, revision: int) -> None:
        """The release has proven itself: what was kept of the one before is given up."""
        if revision != self.revision:
            raise RuntimeRefusal(f"expected the running revision {self.revision}, got {revision}")
        self._previous = None
        self.run.settle()

    # ---- how it goes

    def health(self) -> Health:
        """What the ledger says since the last switch, or since the start."""
        return Health(revision=self.revision, plan=self.run.running_plan.digest, state=self._state(), **measured(self.run, self._since))

    def _state(self) -> Literal["running", "staged", "switching", "failed"]:
        return "failed" if self.run.failed is not None or self.run.ended else self.run.change_state


def _switched(revision: int, proof: Proof) -> Switched:
    values: Mapping[str, Any] = {each.name: getattr(proof, each.name) for each in fields(proof)}
    return Switched(revision=revision, **values)
