from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import ManifestError, Problem, mask, nearest, one_of, show
from manifests.position import Position


def test_one_line_a_problem() -> None:
    problem = Problem(Position("pet.yaml", 12, 5), "graph.boxes.config.scoer", "one of score, iou", "`scoer`", "did you mean `score`?")
    assert str(problem) == "pet.yaml:12:5: graph.boxes.config.scoer: expected one of score, iou, got `scoer` - did you mean `score`?"
    other = Problem(Position("<built in Python>"), "", "a list")
    assert str(ManifestError([problem, other])) == f"{problem}\n<built in Python>: expected a list"


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = str(Problem(Position("a\nb.yaml", 1, 1), "x\x1b[31m", "y", show("\x00\r\n\u202e")))
    assert text.isprintable()
    assert "\\x1b[31m" in text


def test_many_problems_are_cut() -> None:
    lines = str(ManifestError([Problem(Position("f"), "", str(i)) for i in range(1000)])).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "... and 950 more problems"


@pytest.mark.parametrize(
    ("name", "meant"), [("scoer", "score"), ("SCORE", "score"), ("apiversion", "apiVersion"), ("zzz", None), ("", None)]
)
def test_nearest(name: str, meant: str | None) -> None:
    assert nearest(name, ["score", "iou", "apiVersion"]) == meant


def test_one_of() -> None:
    assert one_of(["a", "b"]) == "one of `a`, `b`"
    assert one_of(["a"]) == "`a`"
    assert "(100 in all)" in one_of(str(i) for i in range(100))
    assert one_of([]) == "nothing (there is none)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (1.5, "1.5"),
        ([], "an empty list"),
        ([1], "a list of 1"),
        ({}, "an empty mapping"),
        ({"a": 1}, "a mapping of a"),
    ],
)
def test_show(value: object, text: str) -> None:
    assert show(value) == text


def test_long_text_is_cut() -> None:
    assert len(show("x" * 1_000_000)) < 150


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("rtsp://admin:hunter2@host/1", "rtsp://admin:***@host/1"),
        ("rtsp://:hunter2@host", "rtsp://:***@host"),
        ("rtsp://admin:hun/ter2@host", "rtsp://admin:***@host"),
        ("rtsp://u:p@[::1]:554/x", "rtsp://u:***@[::1]:554/x"),
        ("zmq:tcp://u:hunter2@host:1", "zmq:tcp://u:***@host:1"),
        ("RTSP://host/?user=a&password=hunter2&x=1", "RTSP://host/?user=a&password=***&x=1"),
        ("rtsp://host/user=a&pwd=hunter2", "rtsp://host/user=a&pwd=***"),
        ("rtsp://admin@host/1", "rtsp://admin@host/1"),
        ("rtsp://host:554/user@1", "rtsp://host:554/user@1"),
        ("rtsp://[::1]:554/a@b", "rtsp://[::1]:554/a@b"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_mask(url: str, masked: str) -> None:
    assert mask(url) == masked


@given(st.text(alphabet="abc:/@?#[]1", max_size=400))
def test_mask_ends(text: str) -> None:
    assert isinstance(mask("rtsp://" + text), str)
