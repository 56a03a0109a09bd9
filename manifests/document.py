"""Documents: plain values that know where they were written. Files and folders are read here, within bounds."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.errors import ManifestError, Problem, did_you_mean, show
from manifests.position import PYTHON, Position
from manifests.text import json_text, yaml_text
from manifests.text.node import MAX_BYTES, expand

if TYPE_CHECKING:
    from pydantic import BaseModel

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILES = 1000
SHOWN = 8
MARK = re.compile(rb"""\bapiVersion["']?\s*:\s*["']?ace\b|\bkind["']?\s*:\s*["']?(?:Model|Business|Device)\b""")
"""What a file of a folder says that means to be a manifest, well-formed or not."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(slots=True)
class Document:
    """One manifest as plain values. `folder`: where the files that it names start from. `positions`: dotted path -> position."""

    file: str
    folder: Path
    value: Any
    positions: dict[str, Position] = field(default_factory=dict)

    def at(self, path: str) -> Position:
        """Where the value at this path stands, or the nearest value that encloses it."""
        while path and path not in self.positions:
            path = path.rpartition(".")[0]
        return self.positions.get(path, Position(self.file))

    def problem(self, path: str, expected: str, got: str = "", hint: str = "") -> Problem:
        """A problem at this path."""
        return Problem(self.at(path), path, expected, got, hint)

    def rename(self, parent: str, old: str, new: str) -> None:
        """Renames a key of the mapping at `parent`, positions included. Nothing happens when it is absent or `new` is taken."""
        mapping = self.value
        for key in filter(None, parent.split(".")):
            mapping = mapping.get(key) if isinstance(mapping, dict) else None
        if not isinstance(mapping, dict) or old not in mapping or new in mapping:
            return
        renamed = {new if key == old else key: value for key, value in mapping.items()}
        mapping.clear()
        mapping.update(renamed)
        prefix = f"{parent}." if parent else ""
        before, after = prefix + old, prefix + new
        for path in [path for path in self.positions if path == before or path.startswith(before + ".")]:
            self.positions[after + path[len(before) :]] = self.positions.pop(path)


def collect(paths: Iterable[str | os.PathLike[str]], problems: list[Problem], skipped: list[str] | None = None) -> list[Document]:
    """The documents of all files and folders (their *.yaml, *.yml, *.json, not those of folders below), each file once.

    A file of a folder that does not mean to be a manifest is added to `skipped`.
    """
    documents: list[Document] = []
    seen: set[str] = set()
    for path in paths:
        try:
            for file in files(Path(path), [] if skipped is None else skipped):
                real = os.path.realpath(file)
                if real not in seen:
                    seen.add(real)
                    documents += read(file, problems)
        except ManifestError as error:
            problems += error.problems
        except (OSError, ValueError) as error:
            problems.append(unreadable(Path(path), error))
    return documents


def files(path: Path, skipped: list[str]) -> list[Path]:
    """The file, or the manifests of the folder in the order of their names; its other files go to `skipped`. Raises ManifestError."""
    try:
        if not path.is_dir():
            return [path]
        found = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and not entry.name.startswith(".") and entry.is_file())
    except (OSError, ValueError) as error:
        raise ManifestError([unreadable(path, error)]) from None
    if len(found) > MAX_FILES:
        expected = f"at most {MAX_FILES} files (*.yaml, *.yml, *.json) in a folder of manifests"
        raise ManifestError([Problem(Position(str(path)), "", expected, str(len(found)))])
    chosen = [entry for entry in found if is_meant(entry)]
    if not chosen:
        got = f"only {few([entry.name for entry in found])}" if found else "none in it"
        hint = "a manifest says `apiVersion: ace/v1`" if found else ""
        raise ManifestError([Problem(Position(str(path)), "", "a folder with manifests (*.yaml, *.yml, *.json)", got, hint)])
    skipped += [str(entry) for entry in found if entry not in chosen]
    return chosen


def is_meant(path: Path) -> bool:
    """Whether a file means to be a manifest; True also for one that cannot be read, so that this is told."""
    try:
        with path.open("rb") as stream:
            return MARK.search(stream.read(MAX_BYTES)) is not None
    except OSError:
        return True


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def read(path: Path, problems: list[Problem]) -> list[Document]:
    """The documents of one file. What is wrong with it is added to `problems`."""
    file = str(path)
    before = len(problems)
    try:
        text = decode(read_bytes(path, MAX_BYTES), file)
        compose = json_text.compose if path.suffix == ".json" else yaml_text.compose
        roots = list(compose(text, file, problems))
        documents = [Document(file, path.parent, *expand(root)) for root in roots]
    except ManifestError as error:
        problems += error.problems
        return []
    if not documents and len(problems) == before:
        problems.append(Problem(Position(file), "", "at least one manifest", "an empty file"))
    return documents if len(problems) == before else []


def built(manifest: BaseModel | dict[str, Any], folder: Path) -> Document:
    """A manifest built in Python as a document, under the same bounds as a file. Raises ManifestError when it cannot be written."""
    problems: list[Problem] = []
    try:
        plain = manifest if isinstance(manifest, dict) else manifest.model_dump(by_alias=True, warnings=False)
        (root,) = json_text.compose(json.dumps(plain, allow_nan=False), PYTHON.file, problems)
        value, _ = expand(root)
    except (TypeError, ValueError, RecursionError) as error:
        got = str(error).partition("\n")[0]
        hint = "use numbers, text, true, false, None, lists and dicts"
        problems.append(Problem(PYTHON, "", "values that can be written as YAML", got, hint))
    except ManifestError as error:
        problems += error.problems
    if problems:
        raise ManifestError([replace(problem, position=PYTHON) for problem in problems])
    return Document(PYTHON.file, folder, value, {"": PYTHON})


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file. Raises ManifestError, also for more than `limit` bytes."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes would wait for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ManifestError([Problem(Position(str(path)), "", "a regular file", "something else")])
            content = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        raise ManifestError([unreadable(path, error)]) from None
    if len(content) > limit:
        raise ManifestError([Problem(Position(str(path)), "", f"a file of at most {limit:,} bytes", "a larger one")])
    return content


def decode(content: bytes, file: str) -> str:
    """The text of a file. Raises ManifestError for what is not UTF-8, and for control characters."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        got = f"the byte 0x{content[error.start]:02x}"
        raise ManifestError([Problem(Position(file, line), "", "text in UTF-8", got, "is this a manifest?")]) from None
    if control := CONTROL.search(text):
        before = text[: control.start()]
        position = Position(file, before.count("\n") + 1, control.start() - before.rfind("\n"))
        raise ManifestError([Problem(position, "", "text without control characters", f"the character 0x{ord(control[0]):02x}")])
    return text


def unreadable(path: Path, error: OSError | ValueError) -> Problem:
    """Why a file or folder cannot be read."""
    position = Position(str(path))
    match error:
        case FileNotFoundError() if path.is_symlink():
            return Problem(position, "", "a file or folder", "a link to nothing", f"it leads to {path.readlink()}")
        case FileNotFoundError():
            return Problem(position, "", "a file or folder", "nothing by that name", neighbour(path))
        case PermissionError():
            return Problem(position, "", "a file or folder that may be read", "no permission", "check its owner and mode")
        case OSError():
            return Problem(position, "", "a file or folder that can be read", error.strerror or show(str(error)))
        case _:
            return Problem(position, "", "a path", str(error))


def neighbour(path: Path) -> str:
    """A hint at the nearest name beside a path that does not exist."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(MAX_FILES), strict=False)]
    except (OSError, ValueError):
        return ""
    return did_you_mean(path.name, names)
