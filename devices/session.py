"""Loading a model: which engine runs it, and whether the file is still the one that was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devices import onnx_file, registry
from devices.engine import Engine, EngineError, ModelInfo, Session

MEASURED = frozenset({"native"})
"""Engines that `auto` takes only where they were measured to be faster on this device: `devices.native.choice`."""


def load(
    model: str | Path | ModelInfo, engine: str = "auto", threads: int = 1, precision: str = "auto", *, dims: Mapping[str, int] | None = None
) -> Session:
    """Loads a model to be run with `session.run({input: array})`.

    `model`: an ONNX file (`dims` gives values to its open dimensions), or a ModelInfo, whose digest the file must still have. `engine`: a
    name, or `auto`: the one that `ace prepare` found to be the faster one, else the first engine of the CPU that has all the model's
    operators. Raises EngineError.
    """
    if isinstance(model, ModelInfo):
        _verify(model)
    else:
        from devices.model import inspect

        model = inspect(model, dims=dims).as_model()
    return choose_for(model, engine).load(model, threads=threads, precision=precision)


def choose_for(model: ModelInfo, engine: str = "auto") -> Engine:
    """The engine of this name, or for `auto` the model's own choice. Raises EngineError."""
    if engine == "auto":
        from devices.native.choice import verdict

        engine = found if (found := verdict(model).engine) in MEASURED or model.engine != "auto" else engine
    return choose(model.path, engine)


def choose(path: Path, engine: str = "auto", device: str = "cpu") -> Engine:
    """The engine of this name, or for `auto` the first one of the device that covers the model wholly, those left out that must be measured
    first. Raises EngineError, which names what each engine lacks."""
    if engine != "auto":
        chosen = registry.engine(engine)
        if why := registry.why_missing(chosen):
            raise EngineError(f"engine {engine}: it cannot work here: {why}")
        return chosen
    reasons = []
    for name, candidate in registry.engines(registry.device(device).name).items():
        if name in MEASURED:
            continue
        why = registry.why_missing(candidate) or _uncovered(candidate, path)
        if why is None:
            return candidate
        reasons.append(f"{name}: {why}")
    raise EngineError(
        f"{path}: expected an engine of device {device} that has all operators of the model, got none" + "".join(f"; {r}" for r in reasons)
    )


def choose_anywhere(path: Path) -> Engine:
    """An engine of any device that covers the model wholly. Raises EngineError, which names what each engine lacks."""
    refusals = []
    for device in registry.devices():
        try:
            return choose(path, device=device)
        except EngineError as error:
            refusals.append(str(error))
    raise EngineError("; ".join(refusals))


def _uncovered(engine: Engine, path: Path) -> str | None:
    try:
        lacking = engine.lacks(path)
    except EngineError as error:
        return str(error)
    return f"it lacks {', '.join(lacking)}" if lacking else None


def _verify(model: ModelInfo) -> None:
    """A file that was replaced since it was looked at would give other results under the same name."""
    if onnx_file.file_digest(model.path) != model.digest and onnx_file.digest(model.path) != model.digest:
        raise EngineError(f"{model.path}: expected the model with digest {model.digest[:12]}…, got another; make the plan again")
