"""What is made ahead of the first frame: image kernels, kernels and programs of the native engine, and each model's choice of an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devices import kernels, registry
from devices.engine import ModelInfo
from devices.kernels.apart import Report

if TYPE_CHECKING:
    from devices.native.choice import Choice

RUNS = 40
"""Runs of each engine that are measured, after a first one."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that is there now: whether it had to be made, its size in bytes, and what is to be said of it."""

    what: str
    path: Path | None
    nbytes: int
    made: bool
    said: str = ""


Progress = Callable[[str], None]


def ready(models: Sequence[ModelInfo], report: Report | None = None) -> list[Prepared]:
    """Makes what is missing before a run: the image kernels, and for these models (those that run on native) kernels and programs.

    All of it is made in processes of their own. Raises EngineError for a model that native cannot run, KernelError.
    """
    done = [_kernels("image kernels", kernels.ensure, report)]
    if models:
        from devices.native import kernels as native

        done.append(_kernels("native kernels", lambda say: native.ensure(report=say), report))
        done += [_program(model, report) for model in models]
    return done


def prepare(models: Sequence[ModelInfo], report: Report | None = None, progress: Progress | None = None) -> list[Prepared]:
    """The same for all models that native can run, and for each whose engine nobody named the choice of one, measured here once.

    `progress` hears how far a measurement is. Raises EngineError, KernelError.
    """
    from devices.native.choice import NATIVE

    if registry.why_missing(registry.engine(NATIVE)):
        return ready((), report)
    kept = [model for model in models if model.engine in ("auto", NATIVE)]
    covered = [model for model in kept if not _lacks(model)]
    named = [model for model in kept if model.engine == NATIVE and model not in covered]
    done = ready([*covered, *named], report)
    for model in covered:
        if model.engine == "auto":
            _measure(model, report, progress)
    return done


def choices() -> list[tuple[str, Choice]]:
    """Models that were prepared on this device, by name, and what was found; nothing where none can be."""
    from devices.native import choice
    from devices.native.isa import IsaError

    try:
        return choice.kept()
    except (IsaError, kernels.KernelError):
        return []


def _lacks(model: ModelInfo) -> bool:
    """Whether native lacks operators of the model; which ones is kept."""
    from devices.native import choice, coverage

    found = choice.find(model)
    if found is None and (missing := coverage.missing(model.path, dict(model.dims))):
        found = choice.keep(model, list(map(str, missing)), ())
    return bool(found and found.missing)


def _measure(model: ModelInfo, report: Report | None, progress: Progress | None) -> None:
    from devices.bench import bench_model
    from devices.cpu import usable_cores
    from devices.native import choice

    if choice.find(model) is not None:
        return
    measured = []
    for threads in sorted({1, usable_cores()}):
        if report:
            report(f"measuring {model.name} on {choice.NATIVE} and {choice.OTHER}, {threads} thread{'s' * (threads > 1)}")

        def heard(done: int, runs: int) -> None:
            if progress:
                progress(f"{model.name}: {done} of {runs} runs")

        ours, other = bench_model(
            model.path, (choice.NATIVE, choice.OTHER), threads=threads, runs=RUNS, dims=dict(model.dims), progress=heard
        )
        measured.append(choice.Measured(threads, RUNS, ours["median_ms"], other["median_ms"]))
    choice.keep(model, (), measured)


def _kernels(what: str, make: Callable[[Report], Path], report: Report | None) -> Prepared:
    said: list[str] = []

    def heard(line: str) -> None:
        said.append(line)
        if report:
            report(line)

    path = make(heard)
    return Prepared(what, path, path.stat().st_size, bool(said))


def _program(model: ModelInfo, report: Report | None) -> Prepared:
    from devices.native import programs

    said: list[str] = []

    def heard(line: str) -> None:
        said.append(line)
        if report:
            report(line)

    programs.load(model, heard)  # what is damaged is made again
    path = programs.ensure(model)
    return Prepared(f"program of {model.name}", path, path.stat().st_size, bool(said))
