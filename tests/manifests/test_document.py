from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifests.document import Document, built, collect, decode
from manifests.errors import ManifestError, Problem
from manifests.position import Position
from manifests.schema import Business
from manifests.text.node import MAX_BYTES


def problems_of(*paths: Path) -> list[str]:
    problems: list[Problem] = []
    collect(paths, problems)
    return [str(problem) for problem in problems]


def test_folder_is_read_in_order_and_not_below(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json", ".hidden.yaml", "note.txt", "d.yaml~"):
        (tmp_path / name).write_text('{"kind": "Model"}')
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "e.yaml").write_text("kind: Model")
    (tmp_path / "f.yaml").mkdir()
    problems: list[Problem] = []
    documents = collect([tmp_path], problems)
    assert problems == []
    assert [Path(document.file).name for document in documents] == ["a.yaml", "b.yml", "c.json"]


def test_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Model")
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    assert len(collect([tmp_path / "a.yaml", tmp_path, tmp_path / ".." / tmp_path.name / "a.yaml"], [])) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.yaml", b"", "expected at least one manifest, got an empty file"),
        ("a.yaml", b"---\n---\n# nothing\n", "expected at least one manifest"),
        ("a.yaml", b"a: 1\nb: \xff", "a.yaml:2: expected text in UTF-8, got the byte 0xff"),
        ("a.yaml", "a: 1".encode("utf-16"), "expected text in UTF-8"),
        ("a.yaml", b"a: 1\nb: \x00", "a.yaml:2:4: expected text without control characters, got the character 0x00"),
        ("a.yaml", b"\x1b[31m", "expected text without control characters"),
        ("a.onnx", bytes(range(256)) * 100, "expected text"),
        ("a.yaml", b"#" * (MAX_BYTES + 1), "expected a file of at most 1,048,576 bytes"),
        ("a.json", b"", "expected a JSON value"),
    ],
)
def test_files_that_are_no_manifests(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    (message,) = problems_of(tmp_path / name)
    assert said in message


def test_a_link_to_nothing_says_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "pet.yaml").symlink_to("gone.yaml")
    [message] = problems_of(tmp_path / "pet.yaml")
    assert message == f"{tmp_path}/pet.yaml: expected a file or folder, got a link to nothing - it leads to gone.yaml"


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "pet.yaml").touch()
    (message,) = problems_of(tmp_path / "pte.yaml")
    assert message == f"{tmp_path}/pte.yaml: expected a file or folder, got nothing by that name - did you mean `pet.yaml`?"


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "no" / "a.yaml", tmp_path / "file" / "a.yaml", tmp_path / ("x" * 300), Path("a\0b"), tmp_path / "loop"):
        assert len(problems_of(path)) == 1, path


def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (message,) = problems_of(tmp_path / "a.yaml")
    assert "expected a regular file" in message


def test_devices_are_refused() -> None:
    assert "expected a regular file" in problems_of(Path("/dev/zero"))[0]


def test_folder_without_manifests(tmp_path: Path) -> None:
    assert "expected a folder with manifests (*.yaml, *.yml, *.json), got none in it" in problems_of(tmp_path)[0]
    (tmp_path / "report.json").write_text("{}")
    assert "got only report.json - a manifest says `apiVersion: ace/v1`" in problems_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("name", "content", "meant"),
    [
        ("a.yaml", "apiVersion: ace/v1\n", True),
        ("a.yaml", "apiVersion: ace/v9\n", True),
        ("a.yaml", "apiversion: ace/v1\nkind: Device", True),
        ("a.yaml", "{kind: Business", True),
        ("a.json", '{"apiVersion":"ace/v1", ', True),
        ("a.json", '{"kind": "Model"}', True),
        ("a.json", '{"plan": "9f2c", "streams": {}}', False),
        ("a.json", "[1, 2, 3", False),
        ("a.yaml", "", False),
        ("a.yaml", "apiVersion: v1\nkind: Pod\n", False),
        ("a.json", '{"kind": {"const": "Model"}, "apiVersion": {"const": "ace/v1"}}', False),
        ("a.yaml", b"\xff\xfe\x00", False),
    ],
)
def test_only_what_means_to_be_a_manifest_is_read_from_a_folder(tmp_path: Path, name: str, content: str | bytes, meant: bool) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "good.yaml").write_text("apiVersion: ace/v1")
    skipped: list[str] = []
    documents = collect([tmp_path], problems := [], skipped)
    assert len(documents) + len(problems) == (2 if meant else 1)
    assert skipped == ([] if meant else [str(tmp_path / name)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch(mode=0)
    assert "no permission" in problems_of(tmp_path / "a.yaml")[0]


def test_no_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert "may be read, got no permission" in problems_of(tmp_path / "a.yaml")[0]


def test_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    (document,) = collect([tmp_path / "a.yaml"], [])
    assert document.value == {"a": 1, "b": 2}
    assert document.at("b").line == 2


def test_all_problems_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Model\na: [")
    (tmp_path / "b.yaml").write_text("kind: Model\na: 1\na: 2\nb: !t 1")
    assert len(problems_of(tmp_path, tmp_path / "no.yaml")) == 4


def test_at_finds_the_nearest_value_around() -> None:
    a, b = Position("f", 1, 1), Position("f", 2, 3)
    document = Document("f", Path(), {}, {"": a, "graph": b})
    assert document.at("graph.boxes.config") == b
    assert document.at("other") == a
    assert Document("f", Path(), {}).at("graph") == Position("f")


def test_rename_keeps_order_and_positions() -> None:
    a, b, c = (Position("f", line, 1) for line in (1, 2, 3))
    document = Document("f", Path(), {"x": {"in": [1], "y": 2}}, {"": a, "x": a, "x.in": b, "x.in.0": c, "x.input": a})
    document.rename("x", "in", "out")
    assert list(document.value["x"]) == ["out", "y"]
    assert (document.at("x.out"), document.at("x.out.0"), document.at("x.input")) == (b, c, a)
    for parent, old, new in (("x", "no", "z"), ("x", "out", "y"), ("x.y", "a", "b"), ("q.r", "a", "b")):
        before = repr(document.value)
        document.rename(parent, old, new)
        assert repr(document.value) == before


class Thing:
    pass


@pytest.mark.parametrize(
    "value", [Thing(), {1, 2}, b"x", float("nan"), float("inf"), 1 << 70, "\ud800", {"": 1}, [[[[0]] * 100] * 100] * 3]
)
def test_built_in_python_under_the_same_bounds(value: object) -> None:
    graph = {"a": {"op": "x", "config": {"key": value}}}
    business = Business.model_validate({"name": "a", "version": "1.0.0", "inputs": {}, "graph": graph, "outputs": {"a": "a"}})
    with pytest.raises(ManifestError) as caught:
        built(business, Path())
    assert str(caught.value).startswith("<built in Python>: expected")


def test_built_in_python_that_contains_itself() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ManifestError):
        built({"a": circle}, Path())


def test_decode_refuses_delete_but_not_tab() -> None:
    assert decode(b"a\tb\n", "f") == "a\tb\n"
    with pytest.raises(ManifestError):
        decode(b"\x7f", "f")
