"""Where results go: finds the sink that a target names."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow.sinks.contract import Sink

__all__ = ["find", "targets"]

GROUP = "ace.sinks"


def find(target: str) -> type[Sink]:
    """The sink that writes this target: a suffix (`out.jsonl`, `annotated.mp4`), a scheme (`zmq:tcp://…`) or `-`.

    A class of a module of this package with that target, else an entry point of that name in the group `ace.sinks`. Raises SinkError
    naming the nearest target that something writes.
    """
    from flow.sinks.contract import SinkError

    loaders: dict[str, Callable[[], type[Sink]]] = {entry.name: entry.load for entry in entry_points(group=GROUP)}
    loaders |= {known: partial(_itself, sink) for known, sink in _built_in().items()}
    for known in sorted(loaders, key=lambda name: not name.endswith(":")):  # a scheme says more than a suffix
        if _matches(target, known):
            return loaders[known]()
    known_targets = targets()
    near = difflib.get_close_matches(_key(target), known_targets, n=1)
    hint = f"did you mean {near[0]}?" if near else "a file is chosen by its suffix"
    raise SinkError(f"{target}: expected a target that ends or begins with one of {', '.join(known_targets)}, got {target!r} ({hint})")


def targets() -> list[str]:
    """Every suffix and scheme that can be written here, those of third parties included."""
    return sorted({*_built_in(), *(entry.name for entry in entry_points(group=GROUP))})


def _itself(sink: type[Sink]) -> type[Sink]:
    return sink


def _built_in() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"flow.sinks.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                found.update((target, value) for target in vars(value).get("targets", ()))
    return found


def _matches(target: str, known: str) -> bool:
    if known.startswith("."):
        return target.lower().endswith(known) and len(target) > len(known)
    return target.startswith(known) if known.endswith(":") else target == known


def _key(target: str) -> str:
    """What a target is chosen by: its scheme or its suffix."""
    head, colon, _ = target.partition(":")
    if colon and head.isalnum():
        return f"{head}:"
    return "." + target.rpartition(".")[2].lower() if "." in target else target
