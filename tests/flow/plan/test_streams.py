from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flow.plan import make_plan
from flow.plan.streams import located, overload
from manifests.errors import ManifestError
from manifests.schema.device import StreamManifest

GRAPH = {"boxes": {"op": "t.find", "in": {"image": "camera"}}}


@pytest.mark.parametrize(
    ("written", "live", "expected"),
    [(None, False, ("block", 1)), (None, True, ("latest", 1)), ("block", True, ("block", 1)), ("drop_oldest", True, ("drop_oldest", 1)),
     ({"every": 5}, False, ("every", 5))],
)  # fmt: skip
def test_overload(written: Any, live: bool, expected: tuple[str, int]) -> None:
    assert overload(StreamManifest.model_validate({"source": "x", "overload": written}), live) == expected


def test_a_source_that_cannot_be_opened_is_reported_at_its_line(house: Any, unreachable: Any) -> None:
    with pytest.raises(ManifestError) as caught:
        make_plan(house.deployment(house.use(GRAPH)), probe=unreachable)
    (problem,) = caught.value.problems
    assert str(problem.position) == "device.yaml:5"
    assert problem.path == "streams.front.source"
    assert "/clips/front.mp4: no such file" in problem.got


def test_only_streams_that_are_read_are_looked_at(house: Any) -> None:
    seen = []

    def probe(uri: str, options: Any, secret: Any) -> Any:
        seen.append(uri)
        return house.probe

    streams = {"front": {"source": "/a.mp4"}, "back": {"source": "/b.mp4"}}
    plan = make_plan(house.deployment(house.use(GRAPH), streams=streams), probe=probe)
    assert seen == ["/a.mp4"]
    assert [stream.name for stream in plan.streams] == ["front"]


def test_size_and_rate_are_asked_of_the_source(house: Any) -> None:
    asked = {}

    def probe(uri: str, options: Any, secret: Any) -> Any:
        asked.update(options)
        return house.probe

    streams = {"front": {"source": "v4l2:/dev/video0", "size": (320, 240), "fps": 5}}
    plan = make_plan(house.deployment(house.use(GRAPH), streams=streams), probe=probe)
    assert asked == {"size": (320, 240), "fps": 5.0}
    assert plan.streams[0].fps == 5.0
    assert plan.streams[0].options == asked


def test_a_secret_is_read_for_the_source_and_never_kept(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRONT_CAMERA", "anna:hunter2hunter2")
    given = []

    def probe(uri: str, options: Any, secret: Any) -> Any:
        given.append(secret)
        return replace(house.probe, live=True)

    from flow.plan import views
    from flow.plan.codec import encode_plan

    streams = {"front": {"source": "rtsp://camera.local/1", "secret": "FRONT_CAMERA"}}
    plan = make_plan(house.deployment(house.use(GRAPH), streams=streams), probe=probe)
    assert given == ["anna:hunter2hunter2"]
    assert plan.streams[0].secret == "FRONT_CAMERA"
    shown = [repr(plan), encode_plan(plan).decode(), views.text(plan), str(views.document(plan)), views.drawing(plan)]
    assert not any("hunter2" in text for text in shown)
    other = make_plan(house.deployment(house.use(GRAPH), streams={"front": {"source": "rtsp://camera.local/1"}}), probe=probe)
    assert other.digest == plan.digest


def test_a_secret_that_is_not_there_is_reported(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRONT_CAMERA", raising=False)
    problem = house.problem(house.use(GRAPH), streams={"front": {"source": "rtsp://camera.local/1", "secret": "FRONT_CAMERA"}})
    assert "FRONT_CAMERA" in problem.got


@pytest.mark.parametrize(
    ("source", "expected"),
    [("clip.mp4", "/base/clip.mp4"), ("file:clip.mp4", "/base/clip.mp4"), ("/abs/clip.mp4", "/abs/clip.mp4"),
     ("file:///abs/a%20b.mp4", "/abs/a b.mp4"), ("rtsp://camera/1", "rtsp://camera/1"),
     ("synthetic:pets", "synthetic:pets"), ("frames/*.png", "/base/frames/*.png")],
)  # fmt: skip
def test_relative_files_start_from_the_devices_folder(house: Any, source: str, expected: str) -> None:
    deployment = replace(house.deployment(house.use(GRAPH)), base=Path("/base"))
    assert located(source, deployment) == expected
