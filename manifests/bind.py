"""Which stream feeds which input, and where every stream comes from."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from manifests.document import Document
from manifests.errors import PASSWORD_IN_QUERY, PASSWORD_IN_URL, Problem, did_you_mean, mask, nearest, one_of, show
from manifests.position import Position
from manifests.schema.business import Business
from manifests.schema.device import MAX_SOURCE, StreamManifest, UseManifest

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
CAMERA = re.compile(r"(?:/dev/video)?([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A business that is to run, with its document, and where the Device manifest asks for it (`path` is empty without one)."""

    name: str
    business: Business
    document: Document
    use: UseManifest
    asker: Document
    path: str


@dataclass(slots=True)
class Streams:
    """The streams of a deployment, as inputs are bound to them."""

    declared: Mapping[str, StreamManifest]
    document: Document | None
    bind: dict[str, str]
    unbound: str | None
    problems: list[Problem]
    streams: dict[str, StreamManifest] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    """source -> the stream that was made for it."""
    used: set[str] = field(default_factory=set)
    """Keys of `bind` that had an effect."""

    def bind_all(self, wanted: list[Wanted]) -> list[dict[str, str]]:
        """input -> stream for each business; adds what cannot be bound to `problems`."""
        for name, stream in self.declared.items():
            assert self.document is not None
            path = f"streams.{name}.source"
            if problem := check_source(stream.source, self.document.at(path), path, self.document.folder):
                self.problems.append(problem)
        bound = [{name: found for name in item.business.inputs if (found := self.stream_of(item, name))} for item in wanted]
        self.check_bind(wanted)
        return bound

    def stream_of(self, wanted: Wanted, name: str) -> str | None:
        """The stream of one input: `--bind business.input`, `--bind input`, then the Device manifest."""
        chosen = wanted.use.bind.get(name)
        if chosen is not None and chosen not in self.declared:
            path = f"{wanted.path}.bind.{name}"
            problem = wanted.asker.problem(path, one_of(self.declared), show(chosen), did_you_mean(chosen, self.declared))
            self.problems.append(problem)
            return None
        for key in (f"{wanted.name}.{name}", name):
            if key in self.bind and key not in self.declared:
                self.used.add(key)
                return self.make(name, self.bind[key], Position(f"--bind {key}"))
        if chosen is not None:
            return self.take(chosen)
        if self.unbound is not None and self.document is None:
            return self.make(name, self.unbound, wanted.document.at(f"inputs.{name}"))
        if self.document is None:
            problem = wanted.document.problem(f"inputs.{name}", "a source for this input", "none", f"--bind {name}=SOURCE")
        elif nearest(name, set(wanted.use.bind) - set(wanted.business.inputs)):
            return None  # a misspelt key of `bind`, reported as such
        else:
            hint = f"bind: {{{name}: {next(iter(self.declared), 'STREAM')}}}"
            expected = f"a stream for the input `{name}` of {wanted.name}"
            problem = wanted.asker.problem(f"{wanted.path}.bind", expected, "none", hint)
        self.problems.append(problem)
        return None

    def take(self, name: str) -> str:
        """A stream of the Device manifest, with the source that `--bind` gives it instead, if any."""
        assert self.document is not None
        stream = self.declared[name]
        if name in self.bind:
            self.used.add(name)
            self.positions[name] = Position(f"--bind {name}")
            # The secret belongs to the address that was replaced.
            self.streams[name] = stream.model_copy(update={"source": self.bind[name], "secret": None})
        else:
            self.positions[name] = self.document.at(f"streams.{name}")
            self.streams[name] = stream.model_copy(update={"source": absolute(stream.source, self.document.folder)})
        return name

    def make(self, name: str, source: str, position: Position) -> str:
        """A stream of this source: the one that is there already, or a new one named like the input."""
        if source not in self.made:
            taken = {*self.declared, *self.streams}
            unique, count = name, 2
            while unique in taken:
                unique, count = f"{name[:60]}-{count}", count + 1
            self.made[source] = unique
            self.streams[unique] = StreamManifest(source=source)
            self.positions[unique] = position
        return self.made[source]

    def check_bind(self, wanted: list[Wanted]) -> None:
        """Every key of `bind` must have had an effect."""
        inputs = [(item.name, name) for item in wanted for name in item.business.inputs]
        names = list(dict.fromkeys([*self.declared, *(name for _, name in inputs), *(f"{owner}.{name}" for owner, name in inputs)]))
        for key in self.bind:
            position = Position(f"--bind {key}")
            if key not in names:
                self.problems.append(Problem(position, "", one_of(names), show(key), did_you_mean(key, names)))
            elif key not in self.used and not any(problem.position == position for problem in self.problems):
                if key in self.declared:
                    got, hint = "a stream that no business here reads", "remove it"
                else:
                    got, hint = "an input that more exact names bind everywhere", "remove it"
                self.problems.append(Problem(position, "", "a name that has an effect", got, hint))


def sources(bind: Mapping[str, str | os.PathLike[str]], folder: Path, problems: list[Problem]) -> dict[str, str]:
    """`bind` with relative files made absolute, from this folder; wrong sources are added to `problems`."""
    found = {}
    for key, value in bind.items():
        source = os.fspath(value)
        position = Position(f"--bind {key}")
        found[key] = absolute(source, folder)
        if not source or len(found[key]) > MAX_SOURCE:
            problems.append(Problem(position, "", f"a source of 1 to {MAX_SOURCE} characters", f"one of {len(source)}"))
        elif problem := check_source(source, position, folder=folder):
            problems.append(problem)
    return found


def check_source(source: str, position: Position, path: str = "", folder: Path = Path()) -> Problem | None:
    """Refuses a password inside a URL, and a camera's number or device where its URL is meant."""
    if PASSWORD_IN_URL.search(source) or (SCHEME.match(source) and PASSWORD_IN_QUERY.search(source)):
        hint = "name an environment variable that holds user:password as `secret` of the stream"
        return Problem(position, path, "a source without a password in it", f"`{mask(source)}`", hint)
    if (camera := CAMERA.fullmatch(source)) and not (source.isdecimal() and (folder / source).exists()):
        return Problem(position, path, "a file, a folder or a URL", show(source), f"a camera is `v4l2:/dev/video{camera[1]}`")
    return None


def absolute(source: str, folder: Path) -> str:
    """A file (or a glob of files), with or without `file:`, as an absolute path; every other source as it is.

    `..` is kept: behind a link it does not lead back.
    """
    if source.startswith("file:///"):
        path = unquote(source.removeprefix("file://"))
    elif source.startswith("file:") and not source.startswith("file://"):
        path = source.removeprefix("file:")
    elif SCHEME.match(source):
        return source
    else:
        path = source
    base = str(folder.absolute())
    return str(Path(glob.escape(base) if glob.has_magic(path) else base, path))
