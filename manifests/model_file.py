"""The files that a Model manifest names: found inside its folder, hashed, labels read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from manifests.deployment import ResolvedModel
from manifests.document import Document, decode, neighbour, read_bytes
from manifests.errors import ManifestError, Problem, did_you_mean, show
from manifests.labels import NAMED
from manifests.schema.model import Model

MAX_LABELS_BYTES = 1 << 20


def resolve_model(model: Model, document: Document, problems: list[Problem]) -> ResolvedModel | None:
    """The model with its file's path and digest and its labels; None when problems were added."""
    before = len(problems)
    path, digest = Path(), ""
    try:
        path = locate(model.file, "file", document)
        digest = sha256(path)
    except ManifestError as error:
        problems += error.problems
    except OSError as error:
        problems.append(document.problem("file", "a model file that can be read", error.strerror or str(error)))
    try:
        labels = read_labels(model, document)
    except ManifestError as error:
        problems += error.problems
    if len(problems) > before:
        return None
    return ResolvedModel(model, path, digest, labels, document.at(""))


def locate(name: str, key: str, document: Document) -> Path:
    """The regular file of this name inside the manifest's folder, links resolved. Raises ManifestError."""
    wanted = Path(name)
    if wanted.is_absolute():
        raise ManifestError([document.problem(key, "a path relative to the manifest", show(name))])
    try:
        folder = document.folder.resolve()
        path = (folder / wanted).resolve()
        if not path.is_relative_to(folder):
            hint = "put the file beside the manifest or below it"
            raise ManifestError([document.problem(key, "a file inside the manifest's folder", f"{show(name)}, which leaves it", hint)])
        if path.is_file():
            return path
        exists = path.exists()
    # A NUL in a path is a ValueError, a circle of links a RuntimeError.
    except (OSError, ValueError, RuntimeError) as error:
        raise ManifestError([document.problem(key, "the path of a file", show(name), str(error))]) from None
    if exists:
        raise ManifestError([document.problem(key, "a file", f"{show(name)}, which is none")])
    raise ManifestError([document.problem(key, f"a file in {document.folder}", f"{show(name)}, which is missing", neighbour(path))])


def sha256(path: Path) -> str:
    """Hex digest of a file's content. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_labels(model: Model, document: Document) -> tuple[str, ...]:
    """The class names: a named list, a file with one name a line, or the names themselves. Raises ManifestError."""
    if not isinstance(model.labels, str):
        return model.labels
    if model.labels in NAMED:
        return NAMED[model.labels]
    try:
        path = locate(model.labels, "labels", document)
    except ManifestError as error:
        if Path(model.labels).suffix or "/" in model.labels:
            raise
        known = ", ".join(f"`{name}`" for name in NAMED)
        expected = f"a named list ({known}), a file in {document.folder}, or a list of names"
        hint = did_you_mean(model.labels, NAMED) or error.problems[0].hint
        raise ManifestError([document.problem("labels", expected, show(model.labels), hint)]) from None
    text = decode(read_bytes(path, MAX_LABELS_BYTES), str(path))
    names = [line.strip() for line in text.rstrip().split("\n")]
    if "" in names:
        expected, got = "one name a line", f"an empty line {names.index('') + 1} in {show(model.labels)}"
        raise ManifestError([document.problem("labels", expected, got, "class ids count lines")])
    return tuple(names)
