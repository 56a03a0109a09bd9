from __future__ import annotations

from pathlib import Path

import manifests
from manifests.catalog import Entry, Shelf, digest
from manifests.document import Document
from manifests.errors import Problem
from manifests.schema import Model


def shelf(*versions: str) -> Shelf[Model]:
    found: Shelf[Model] = Shelf("model")
    for version in versions:
        found.add(Entry(Model(name="yolox", version=version, file="m.onnx"), Document("m.yaml", Path(), {})), [])
    return found


def select(found: Shelf[Model], selector: str) -> str:
    problems: list[Problem] = []
    entry = found.select(selector, Document("d.yaml", Path(), {}), "models.x", problems)
    return entry.manifest.version if entry else str(problems[0])


def test_highest_match() -> None:
    found = shelf("1.0.0", "1.10.0", "1.9.0", "2.0.0", "3.0.0-rc")
    assert select(found, "yolox") == "2.0.0"
    assert select(found, "yolox@^1") == "1.10.0"
    assert select(found, "yolox@~1.9") == "1.9.0"
    assert select(found, "yolox@3.0.0-rc") == "3.0.0-rc"


def test_no_match() -> None:
    found = shelf("1.0.0", "2.0.0")
    assert select(found, "yolox@^3").startswith("d.yaml: models.x: expected a version of yolox in `^3`, got 1.0.0, 2.0.0 - ")
    assert select(found, "yolx").endswith("did you mean `yolox`?")
    assert "yolox@1.0.0-rc" in select(shelf("1.0.0-rc"), "yolox")
    assert "give the path of its manifest (kind: Model) as well" in select(shelf(), "yolox")


def test_equal_manifests_may_be_given_twice(folder: Path) -> None:
    (folder / "copy.yaml").write_text((folder / "pet.yaml").read_text().split("---")[0])
    assert len(manifests.load("pet.yaml", "copy.yaml").uses) == 1


def test_other_content_under_the_same_version(folder: Path) -> None:
    text = (folder / "pet.yaml").read_text().split("---")[0]
    (folder / "copy.yaml").write_text(text.replace("114", "0"))
    (folder / "below").mkdir()
    (folder / "below" / "same.yaml").write_text(text)
    for path in ("copy.yaml", "below/same.yaml"):
        try:
            manifests.load("pet.yaml", path)
        except manifests.ManifestError as error:
            (problem,) = error.problems
            assert "expected one model yolox-nano 1.0.0, got another one, unlike that of pet.yaml:1" in str(problem)
        else:
            raise AssertionError(path)


def test_digest_depends_on_what_is_said_only() -> None:
    one = Model(name="m", version="1.0.0", file="m.onnx", dims={"a": 1, "b": 2})
    assert digest(one) == digest(Model(name="m", version="1.0.0", file="m.onnx", dims={"b": 2, "a": 1}, title=""))
    assert digest(one) != digest(Model(name="m", version="1.0.0", file="m.onnx", dims={"a": 1, "b": 3}))
