"""Which operators there are: the built-in ones, and those of other distributions (entry point group `ace.operators`).

A built-in operator `a.b` is the class with that `op` in the module `ops.a.b`, so that one name imports one module. A distribution offers
its own with an entry point of the operator's name whose value is the class.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from ops.contract import Composite, Operator
from ops.describe import Description, describe

__all__ = [
    "Broken", "Description", "Kind", "UnknownOperator", "all", "broken", "code_digest", "describe", "find", "forget", "look", "names",
]  # fmt: skip

GROUP = "ace.operators"
NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")

Kind = type[Operator] | type[Composite]


class UnknownOperator(KeyError):
    """A name that no operator has; `nearest` are names like it, `reason` says why a distribution's operator of this name cannot be used."""

    def __init__(self, name: str, nearest: tuple[str, ...] = (), reason: str = "") -> None:
        super().__init__(name)
        self.name, self.nearest, self.reason = name, nearest, reason

    def __str__(self) -> str:
        if self.reason:
            return f"operator {self.name!r} cannot be used: {self.reason}"
        hint = f"did you mean {self.nearest[0]!r}?" if self.nearest else "`ace ops` lists them all"
        return f"expected the name of an operator, got {self.name!r} ({hint})"


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry point that gives no operator, and why."""

    name: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"operator {self.name!r} of distribution {self.distribution!r}: {self.reason}"


def find(name: str) -> Kind:
    """The operator or composite of this name. Raises UnknownOperator with the nearest names, or with what is wrong with it."""
    found = _built_in(name)
    if found is not None:
        return found
    offer = _offered().get(name)
    if isinstance(offer, Broken):
        raise UnknownOperator(name, reason=str(offer))
    if offer is None:
        raise UnknownOperator(name, tuple(difflib.get_close_matches(name, names(), 3)))
    loaded = _load(offer)
    if isinstance(loaded, Broken):
        raise UnknownOperator(name, reason=str(loaded))
    return loaded


def names() -> tuple[str, ...]:
    """Names of all operators that can be used, sorted."""
    return tuple(sorted(all()))


def all() -> dict[str, Kind]:  # noqa: A001  the natural word, always written catalog.all()
    """Every operator and composite that can be used, by name."""
    found = dict(_all_built_in())
    for name, offer in _offered().items():
        loaded = offer if isinstance(offer, Broken) else _load(offer)
        if not isinstance(loaded, Broken):
            found[name] = loaded
    return dict(sorted(found.items()))


def broken() -> tuple[Broken, ...]:
    """Entry points of other distributions that give no operator. They stop nothing else."""
    loaded = (offer if isinstance(offer, Broken) else _load(offer) for offer in _offered().values())
    return tuple(offer for offer in loaded if isinstance(offer, Broken))


def look() -> None:
    """Finds out what other distributions offer, without importing any of it: what is asked for later is there sooner."""
    _offered()


def forget() -> None:
    """Looks again at what is installed when next asked."""
    importlib.invalidate_caches()
    for cached in (_offered, _load, _digest):
        cached.cache_clear()


# Built in


@cache
def _built_in(name: str) -> Kind | None:
    if not NAME.fullmatch(name):
        return None
    module_name = f"ops.{name}"
    try:
        if importlib.util.find_spec(module_name) is None:
            return None
    except ModuleNotFoundError:
        return None
    return _operators(importlib.import_module(module_name)).get(name)


@cache
def _all_built_in() -> dict[str, Kind]:
    import ops

    found: dict[str, Kind] = {}
    for package in pkgutil.iter_modules(ops.__path__, "ops."):
        if package.ispkg:
            for module in pkgutil.iter_modules(importlib.import_module(package.name).__path__, f"{package.name}."):
                found |= _operators(importlib.import_module(module.name))
    return found


def _operators(module: ModuleType) -> dict[str, Kind]:
    """The operators that a module defines (not those it imports, nor base classes without a name)."""
    classes = (value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__)
    return {value.op: value for value in classes if issubclass(value, Operator | Composite) and "op" in vars(value)}


# Of other distributions


@cache
def _offered() -> dict[str, metadata.EntryPoint | Broken]:
    """Entry points by operator name; a name that is taken, or offered twice, is Broken."""
    offers: dict[str, metadata.EntryPoint | Broken] = {}
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, _distribution(entry))):
        name, where, other = entry.name, _distribution(entry), offers.get(entry.name)
        if not NAME.fullmatch(name):
            offers[name] = Broken(name, where, "expected a name of lower-case words joined by dots, as `mine.blur`")
        elif _built_in(name) is not None:
            offers[name] = Broken(name, where, "the name is taken by a built-in operator; choose another")
        elif isinstance(other, metadata.EntryPoint):
            offers[name] = Broken(name, f"{_distribution(other)}, {where}", "several distributions offer this name; remove all but one")
        elif other is None:
            offers[name] = entry
    return offers


@cache
def _load(entry: metadata.EntryPoint) -> Kind | Broken:
    where = _distribution(entry)
    try:
        value = entry.load()
    except Exception as error:
        return Broken(entry.name, where, f"{entry.value} does not load: {type(error).__name__}: {error}")
    if not (isinstance(value, type) and issubclass(value, Operator | Composite)):
        return Broken(entry.name, where, f"expected a class derived from Operator or Composite, got {value!r}")
    if getattr(value, "op", None) != entry.name:
        return Broken(entry.name, where, f"expected `op = {entry.name!r}` in {value.__name__}, got {getattr(value, 'op', None)!r}")
    return value


def _distribution(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


# Code digests


def code_digest(kind: Kind) -> str:
    """SHA-256 (hex) of the code that an operator runs, for the address of its nodes.

    For an installed distribution the recorded hashes of its files; for an editable or development install the Python sources of the
    top-level package (or module) that holds the class. Raises ValueError for a class without a source file.
    """
    source = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if source is None:
        raise ValueError(f"operators of {kind.__module__} have no source file to take a digest of: put the class into a module of its own")
    path = Path(source).resolve()
    depth = kind.__module__.count(".") + (path.name == "__init__.py")
    top = path.parents[depth - 1] if depth else path
    begin = top / "__init__.py"
    return _digest(top, begin if begin.is_file() else path)


@cache
def _digest(top: Path, file: Path) -> str:
    """Of the top-level package (or module) `top`, installed by the distribution that installed `file`."""
    files = _owned(file) or _sources(top)
    return hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items())).encode()).hexdigest()


def _owned(source: Path) -> dict[str, str] | None:
    """Recorded hashes of the importable files of the distribution that installed this file; None when none did."""
    for distribution in metadata.distributions():
        root = Path(str(distribution.locate_file(""))).resolve()
        if source.is_relative_to(root) and f"{source.relative_to(root).as_posix()}," in (distribution.read_text("RECORD") or ""):
            return {
                str(file): file.hash.value
                for file in distribution.files or ()
                if file.hash and ".." not in file.parts and not any(part.endswith((".dist-info", "__pycache__")) for part in file.parts)
            }
    return None


def _sources(top: Path) -> dict[str, str]:
    """SHA-256 of every Python source of a top-level package, or of a module."""
    folder, files = (top, top.rglob("*.py")) if top.is_dir() else (top.parent, iter((top,)))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
