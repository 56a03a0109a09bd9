from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from manifests.deployment import ResolvedModel
from manifests.document import Document
from manifests.errors import Problem
from manifests.labels import COCO80
from manifests.model_file import resolve_model
from manifests.position import Position
from manifests.schema import Model


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A manifest's folder with a model file, and a file outside of it."""
    (tmp_path / "in" / "models").mkdir(parents=True)
    (tmp_path / "in" / "models" / "m.onnx").write_bytes(b"model")
    (tmp_path / "secret.onnx").write_bytes(b"secret")
    return tmp_path / "in"


def resolve(place: Path, **fields: Any) -> ResolvedModel | str:
    document = Document("m.yaml", place, {}, {"": Position("m.yaml", 1, 1)})
    problems: list[Problem] = []
    model = resolve_model(Model.model_validate({"name": "m", "version": "1.0.0", "file": "models/m.onnx", **fields}), document, problems)
    if model is None:
        (problem,) = problems
        return str(problem)
    assert problems == []
    return model


def test_found_and_hashed(place: Path) -> None:
    model = resolve(place)
    assert isinstance(model, ResolvedModel)
    assert model.path == place / "models" / "m.onnx"
    assert model.digest == hashlib.sha256(b"model").hexdigest()
    assert model.labels == ()


def test_link_inside_the_folder(place: Path) -> None:
    (place / "link.onnx").symlink_to("models/m.onnx")
    model = resolve(place, file="link.onnx")
    assert isinstance(model, ResolvedModel)
    assert model.path == place / "models" / "m.onnx"


def test_folder_reached_through_a_link(place: Path) -> None:
    (place.parent / "other").symlink_to("in")
    assert isinstance(resolve(place.parent / "other"), ResolvedModel)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("../secret.onnx", "expected a file inside the manifest's folder, got `../secret.onnx`, which leaves it"),
        ("models/../../secret.onnx", "which leaves it"),
        ("../in-other/m.onnx", "which leaves it"),
        ("out.onnx", "which leaves it"),
        ("up/secret.onnx", "which leaves it"),
        ("/etc/passwd", "expected a path relative to the manifest, got `/etc/passwd`"),
        ("models", "expected a file, got `models`, which is none"),
        (".", "expected a file, got `.`, which is none"),
        ("pipe.onnx", "expected a file, got `pipe.onnx`, which is none"),
        ("models/n.onnx", "which is missing - did you mean `m.onnx`?"),
        ("models/m.onnx/x", "got `models/m.onnx/x`"),
        ("loop.onnx", "got `loop.onnx`"),
        ("a\0b", "got `a\\x00b`"),
        ("x" * 300, "got `xxx"),
        ("~/m.onnx", "which is missing"),
    ],
)
def test_refused(place: Path, file: str, said: str) -> None:
    (place / "out.onnx").symlink_to("../secret.onnx")
    (place / "up").symlink_to("..")
    (place / "loop.onnx").symlink_to("loop.onnx")
    os.mkfifo(place / "pipe.onnx")
    for key in ("file", "labels"):
        message = resolve(place, **{key: file})
        assert isinstance(message, str)
        if key == "file" or "/" in file:
            assert said in message
        assert message.startswith(f"m.yaml:1:1: {key}: expected")


def test_unreadable(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert resolve(place) == "m.yaml:1:1: file: expected a model file that can be read, got Permission denied"


def test_labels_by_name_inline_and_from_a_file(place: Path) -> None:
    (place / "names.txt").write_bytes("cat\r\n dog \r\nécureuil\r\n\r\n".encode())
    for labels, names in (("coco80", COCO80), (("a", "b"), ("a", "b")), ("names.txt", ("cat", "dog", "écureuil")), ((), ())):
        model = resolve(place, labels=labels)
        assert isinstance(model, ResolvedModel)
        assert model.labels == names


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("coco8", "expected a named list (`coco80`), a file in"),
        ("coco8", "did you mean `coco80`?"),
        ("nams.txt", "which is missing - did you mean `names.txt`?"),
        ("gap.txt", "expected one name a line, got an empty line 2"),
        ("binary.txt", "binary.txt:1: expected text in UTF-8"),
        ("huge.txt", "expected a file of at most"),
        ("empty.txt", "expected one name a line"),
    ],
)
def test_labels_refused(place: Path, labels: str, said: str) -> None:
    (place / "names.txt").write_text("cat")
    (place / "gap.txt").write_text("cat\n\ndog\n")
    (place / "binary.txt").write_bytes(b"\xff\xfe")
    (place / "huge.txt").write_bytes(b"a\n" * (1 << 20))
    (place / "empty.txt").touch()
    message = resolve(place, labels=labels)
    assert isinstance(message, str)
    assert said in message
