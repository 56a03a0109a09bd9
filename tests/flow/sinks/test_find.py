from __future__ import annotations

from types import SimpleNamespace

import pytest

from flow import sinks
from flow.sinks import find, targets
from flow.sinks.contract import SinkError
from flow.sinks.jsonl import JsonLines
from flow.sinks.stdout import Stdout
from flow.sinks.video import Video
from flow.sinks.zmq import ZmqPublisher


@pytest.mark.parametrize(
    ("target", "sink"),
    [
        ("out.jsonl", JsonLines), ("a/b/OUT.JSONL", JsonLines), ("out.ndjson", JsonLines), ("-", Stdout), ("annotated.mp4", Video),
        ("annotated.mkv", Video), ("annotated.avi", Video), ("zmq:tcp://127.0.0.1:5556", ZmqPublisher),
        ("zmq:ipc:///run/x.mp4", ZmqPublisher),
    ],
)  # fmt: skip
def test_each_target_has_its_sink(target: str, sink: type) -> None:
    assert find(target) is sink


@pytest.mark.parametrize(
    ("target", "near"), [("out.jsnol", ".jsonl"), ("out.mp5", ".mp4"), ("zmg:tcp://a:1", "zmq:"), ("out", "suffix"), (".mp4", ".mp4")]
)
def test_an_unknown_target_names_the_nearest(target: str, near: str) -> None:
    with pytest.raises(SinkError, match=near):
        find(target)


def test_third_parties_add_sinks_by_entry_point(monkeypatch) -> None:
    class Telegraph:
        targets = ("morse:",)

    monkeypatch.setattr(sinks, "entry_points", lambda group: [SimpleNamespace(name="morse:", load=lambda: Telegraph)])
    assert find("morse:north") is Telegraph
    assert "morse:" in targets()
