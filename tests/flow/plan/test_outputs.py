from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devices.spec import ImageSpec

GRAPH = {"boxes": {"op": "t.find", "in": {"image": "camera"}}, "tracks": {"op": "t.track", "in": {"boxes": "boxes"}}}


def test_without_targets_every_output_goes_to_the_caller(house: Any) -> None:
    plan = house.plan(house.use(GRAPH, {"boxes": "boxes", "tracks": "tracks.boxes"}))
    assert [(sink.id, sink.output, sink.target) for sink in plan.sinks] == [(0, "boxes", "results:"), (1, "tracks", "results:")]
    assert plan.sinks[0].where == f"m.yaml:{house.line('outputs.boxes')}"


@pytest.mark.parametrize("name", ["tracks", "pet.tracks"])
def test_only_what_is_asked_for_is_written_and_all_is_computed(house: Any, name: str) -> None:
    plan = house.plan(house.use(GRAPH, {"boxes": "boxes", "tracks": "tracks"}), out={name: ["-"]})
    assert [(sink.output, sink.target) for sink in plan.sinks] == [("tracks", "-")]
    assert len(plan.nodes) == 2


def test_one_output_may_go_to_several_targets(house: Any, tmp_path: Path) -> None:
    plan = house.plan(house.use(GRAPH), out={"out": ["-", str(tmp_path / "a.jsonl")]})
    assert [sink.target for sink in plan.sinks] == ["-", str(tmp_path / "a.jsonl")]


def test_a_video_gets_the_output_drawn_on_its_streams_picture(house: Any, tmp_path: Path) -> None:
    plan = house.plan(house.use(GRAPH), out={"out": [str(tmp_path / "a.mp4"), "-"]})
    draw = next(node for node in plan.nodes if node.op == "draw.results")
    convert = next(node for node in plan.nodes if node.op == "image.convert")
    video, lines = plan.sinks
    assert draw.names == ("pet.out › draw.results",)
    assert dict(draw.inputs)["image"].address == convert.address
    assert dict(draw.inputs)["detections"] == lines.value
    assert video.value.address == draw.address
    assert video.spec == ImageSpec(64, 48, "bgr24")


def test_a_video_of_a_counter_shows_its_line_and_what_it_counts(house: Any, tmp_path: Path) -> None:
    line = [[1.0, 2.0], [3.0, 4.0]]
    graph = {**GRAPH, "count": {"op": "count.line", "in": {"detections": "tracks"}, "config": {"line": line}}}
    plan = house.plan(house.use(graph, {"out": "count.event"}), out={"out": [str(tmp_path / "a.mp4")]})
    draw = next(node for node in plan.nodes if node.op == "draw.results")
    by_op = {node.op: node.address for node in plan.nodes}
    assert {port: ref.address for port, ref in draw.inputs} == {
        "image": by_op["image.convert"], "detections": by_op["t.track"], "event": by_op["count.line"],
    }  # fmt: skip
    assert draw.config["lines"] == [line]


def test_a_picture_that_is_an_output_is_written_as_it_is(house: Any, tmp_path: Path) -> None:
    plan = house.plan(house.use({"small": {"op": "t.shrink", "in": {"image": "camera"}}}), out={"out": [str(tmp_path / "a.mp4")]})
    assert [node.op for node in plan.nodes] == ["t.shrink"]
    assert plan.sinks[0].value.address == plan.nodes[0].address


@pytest.mark.parametrize(
    ("name", "target", "hint"),
    [("outt", "-", "did you mean `out`?"), ("out", "a.jsonx", "did you mean .jsonl?")],
)
def test_unknown_outputs_and_targets(house: Any, name: str, target: str, hint: str) -> None:
    assert hint in str(house.problem(house.use(GRAPH), out={name: [target]}))


def test_an_output_whose_node_is_broken_is_no_second_problem(house: Any) -> None:
    broken = {"boxes": {"op": "t.fnid", "in": {"image": "camera"}}}
    assert "t.fnid" in house.problem(house.use(broken), out={"out": ["-"]}).got


def test_a_target_that_cannot_be_written_is_refused_before_anything_starts(house: Any, tmp_path: Path) -> None:
    target = str(tmp_path / "missing" / "a.jsonl")
    assert target in house.problem(house.use(GRAPH), out={"out": [target]}).got


def test_an_output_that_two_businesses_have_must_be_named_in_full(house: Any) -> None:
    problem = house.problem(house.use(GRAPH), house.use(GRAPH, name="other"), out={"out": ["-"]})
    assert "`other.out`" in problem.expected
    plan = house.plan(house.use(GRAPH), house.use(GRAPH, name="other"), out={"other.out": ["-"]})
    assert [sink.business for sink in plan.sinks] == ["other"]


def test_two_outputs_cannot_share_a_file_but_may_share_standard_output(house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use = house.use(GRAPH, {"boxes": "boxes", "tracks": "tracks"})
    monkeypatch.chdir(tmp_path)
    problem = house.problem(use, out={"boxes": ["a.jsonl"], "tracks": [str(tmp_path / "a.jsonl")]})
    assert "pet.boxes is written to" in problem.got
    assert len(house.plan(use, out={"boxes": ["-"], "tracks": ["-"]}).sinks) == 2


def test_tensors_are_no_result(house: Any) -> None:
    problem = house.problem(house.use({"tensors": {"op": "t.prepare", "in": {"image": "camera"}}}))
    assert problem.path == "outputs.out"
    assert problem.got.startswith("tensors")
