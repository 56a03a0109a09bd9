"""Where a piece of work can be done: the devices and engines of this machine that its settings, its model and its kind allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from devices.engine import EngineError, ModelInfo
from manifests.errors import did_you_mean, one_of
from ops.contract import Operator

if TYPE_CHECKING:
    from devices.native.choice import Verdict
    from devices.registry import DeviceStatus, EngineStatus

HOST = "cpu"
DEFAULT, NATIVE = "onnxruntime", "native"
"""The engine that takes every model, and the one that is measured against it; what others lack is asked before they are chosen."""


class PlaceError(Exception):
    """Work that no place on this machine can do; `key` is the setting that says so."""

    def __init__(self, *, key: str, expected: str, got: str, hint: str = "") -> None:
        super().__init__(f"{key}: expected {expected}, got {got}")
        self.key, self.expected, self.got, self.hint = key, expected, got, hint


@dataclass(frozen=True, slots=True)
class Place:
    """A device, the engine that runs models there (None: the operator's own code), and the memory domain the work reads and writes.

    `why` says why this engine.
    """

    device: str
    engine: str | None
    domain: str
    why: str = field(default="", compare=False)


def choices(machine: Sequence[DeviceStatus], op: type[Operator], config: Any, model: ModelInfo | None) -> list[Place]:
    """Every place that can do the work, the preferred one first: the host before others, and of its engines the one that the Model manifest
    names or that was measured to be faster (`devices.native.choice`), else ONNX Runtime.

    An operator goes anywhere but the host only when `device` is one of its placement settings. Raises PlaceError.
    """
    device = _asked(op, config, "device") if "device" in op.placement else HOST
    engine = _asked(op, config, "engine")
    allowed = [each for each in machine if device in (None, each.name)]
    if not allowed:
        names = [each.name for each in machine]
        raise PlaceError(
            key="device", expected=one_of(names), got=str(device), hint=did_you_mean(str(device), names) or "see `ace devices`"
        )
    here = [each for each in allowed if each.missing is None]
    if not here:
        raise PlaceError(key="device", expected="a device that works here", got=f"{allowed[0].name}: {allowed[0].missing}")
    here.sort(key=lambda each: each.name != HOST)
    if "engine" not in op.placement:
        return [Place(each.name, None, each.domain) for each in here]
    return _with_engines(here, engine, str(getattr(config, "precision", "auto")), model)


def _with_engines(here: Sequence[DeviceStatus], engine: str | None, precision: str, model: ModelInfo | None) -> list[Place]:
    """Places with an engine that has all the model needs."""
    names = [each.name for device in here for each in device.engines]
    verdict = _verdict(engine, model)
    if engine is None and model is not None and model.engine in names:
        engine = model.engine
    named = [(device, each) for device in here for each in device.engines if engine in (None, each.name)]
    if not named:
        where = " or ".join(device.name for device in here)
        got = engine or "no engine there"
        raise PlaceError(key="engine", expected=f"{one_of(names)} (engines of {where})", got=got, hint=did_you_mean(got, names))
    usable, reasons = [], []
    order = (verdict.engine, DEFAULT)
    for device, each in sorted(named, key=lambda pair: (pair[0].name != HOST, [pair[1].name != name for name in order])):
        reason = _unfit(each, precision, model)
        if reason:
            reasons.append(f"{each.name}: {reason}")
        else:
            usable.append(Place(device.name, each.name, device.domain, verdict.why if each.name == verdict.engine else ""))
    if not usable:
        raise PlaceError(key="engine", expected="an engine that can run the model", got="; ".join(reasons))
    if not usable[0].why:
        usable[0] = replace(usable[0], why="; ".join(reasons))
    return usable


def _verdict(engine: str | None, model: ModelInfo | None) -> Verdict:
    """The engine that should run the model, and why."""
    from devices.native.choice import Verdict, verdict

    if engine is not None:
        return Verdict(engine, "named by the node")
    return verdict(model) if model is not None else Verdict(DEFAULT, "")


def _unfit(engine: EngineStatus, precision: str, model: ModelInfo | None) -> str:
    """Why the engine cannot run the model, or nothing."""
    if engine.missing:
        return engine.missing
    if precision not in ("auto", *engine.precisions):
        return f"expected precision auto or {', '.join(engine.precisions)}, got {precision}"
    if model is None or engine.name == DEFAULT:
        return ""
    from devices import registry
    from devices.native import choice

    try:
        if engine.name == NATIVE and (known := choice.known(model)):
            return known.why if known.missing else ""
        lacking = registry.engine(engine.name).lacks(model.path)
    except EngineError as error:
        return str(error)
    return f"it has no {', '.join(lacking)}" if lacking else ""


def _asked(op: type[Operator], config: Any, key: str) -> str | None:
    """The setting, or None where it leaves the place open."""
    value = getattr(config, key, None) if key in op.placement else None
    return None if value in (None, "auto") else str(value)
