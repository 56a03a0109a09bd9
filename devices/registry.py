"""Which devices and engines this machine has: the built-in ones, and those of installed distributions."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from devices.cpu import Cpu
from devices.device import Device
from devices.engine import Engine, EngineError

DEVICES = "ace.devices"
ENGINES = "ace.engines"

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Broken:
    """A plug-in that is installed and cannot be used, and why."""

    group: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """An engine, and why it cannot work here (None: it can)."""

    name: str
    precisions: tuple[str, ...]
    missing: str | None


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A device, why it cannot be used here (None: it can), and its engines."""

    name: str
    kind: str
    domain: str
    cores: int
    memory_bytes: int
    emulated: bool
    missing: str | None
    engines: tuple[EngineStatus, ...]


@dataclass(slots=True)
class _Found:
    devices: dict[str, Device] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)


def devices() -> Mapping[str, Device]:
    """Devices by name, `cpu` first."""
    return _found().devices


def engines(device: str | None = None) -> Mapping[str, Engine]:
    """Engines by name, of one device or of all: built-in ones first, each group in the order of names."""
    return {name: engine for name, engine in _found().engines.items() if device in (None, engine.device)}


def device(name: str) -> Device:
    """The device of this name. Raises EngineError."""
    return _named("device", name, devices())


def engine(name: str) -> Engine:
    """The engine of this name; for a built-in one no plug-in is looked for. Raises EngineError."""
    if not _found.cache_info().currsize and name in _built_in():
        built_in: Engine = import_module(f"devices.engines.{name}").ENGINE
        return built_in
    return _named("engine", name, engines())


def device_of(domain: str) -> Device:
    """The device whose memory this domain is. Raises EngineError."""
    owners: dict[str, Device] = {}
    for known in devices().values():
        owners.setdefault(known.domain, known)
    return _named("memory domain", domain, owners)


def broken() -> tuple[Broken, ...]:
    """Plug-ins that are installed and cannot be used."""
    return tuple(_found().broken)


def available() -> list[DeviceStatus]:
    """Every device and its engines, with the reason where one cannot work on this machine."""
    return [_status(device) for device in devices().values()]


def why_missing(part: Device | Engine) -> str | None:
    """Why this device or engine cannot work here, or None; a plug-in that fails while asked is missing for that reason."""
    try:
        return part.missing()
    except Exception as error:
        return f"asking it failed: {_said(error)}"


def _status(device: Device) -> DeviceStatus:
    return DeviceStatus(
        device.name, device.kind, device.domain, _ask(lambda: device.cores), _ask(lambda: device.memory_bytes), device.emulated,
        why_missing(device), tuple(EngineStatus(name, e.precisions, why_missing(e)) for name, e in engines(device.name).items()),
    )  # fmt: skip


def refresh() -> None:
    """Forgets what was found; the next question looks again."""
    _found.cache_clear()


@cache
def _found() -> _Found:
    found = _Found()
    _add_device(found, "built-in", Cpu())
    for name in _built_in():
        _add_engine(found, "built-in", import_module(f"devices.engines.{name}").ENGINE)
    _add_plugins(found, DEVICES, _add_device)
    _add_plugins(found, ENGINES, _add_engine)
    return found


def _built_in() -> list[str]:
    """Names of the engines that come with ACE."""
    return sorted(module.name for module in pkgutil.iter_modules(import_module("devices.engines").__path__))


def _add_plugins(found: _Found, group: str, add: Callable[[_Found, str, Any], None]) -> None:
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        try:
            loaded = entry.load()
            add(found, entry.value, loaded() if isinstance(loaded, type) else loaded)
        except Exception as error:
            found.broken.append(Broken(group, entry.name, _said(error)))


def _add_device(found: _Found, origin: str, device: Any) -> None:
    _check(device, Device, origin, ("name", "kind", "domain"))
    if device.name in found.devices:
        raise EngineError(f"{origin}: expected a device name of its own, got {device.name!r}, which is taken")
    if device.domain in {known.domain for known in found.devices.values()} - {"cpu"}:
        raise EngineError(f"{origin}: expected a memory domain of its own, or cpu, got {device.domain!r}, which is taken")
    found.devices[device.name] = device


def _add_engine(found: _Found, origin: str, engine: Any) -> None:
    _check(engine, Engine, origin, ("name", "device"))
    if engine.name in found.engines or engine.name == "auto":
        raise EngineError(f"{origin}: expected an engine name of its own, got {engine.name!r}, which is taken")
    if engine.device not in found.devices:
        raise EngineError(f"{origin}: expected an engine of {', '.join(found.devices)}, got one of device {engine.device!r}")
    found.engines[engine.name] = engine


def _check(plugin: Any, contract: type, origin: str, names: Iterable[str]) -> None:
    members = {*contract.__annotations__, *(member for member in vars(contract) if not member.startswith("_"))}
    lacking = [member for member in sorted(members) if not hasattr(type(plugin), member) and member not in getattr(plugin, "__dict__", ())]
    if lacking:
        raise EngineError(f"{origin}: expected {contract.__name__} as the contract says, got one without {', '.join(lacking)}")
    for name in names:
        if not isinstance(value := getattr(plugin, name), str) or not value:
            raise EngineError(f"{origin}: expected a {name} that is text, got {value!r}")


def _named(what: str, name: str, known: Mapping[str, Part]) -> Part:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    raise EngineError(
        f"{what}: expected one of {', '.join(known)}, got {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else "; `ace devices` lists what is installed")
    )


def _ask(question: Callable[[], int]) -> int:
    """A number that a device tells of itself; 0 when asking fails, which `why_missing` reports."""
    try:
        return question()
    except Exception:
        return 0


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
