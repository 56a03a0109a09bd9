from __future__ import annotations

from dataclasses import replace
from typing import Any

from devices.spec import ImageSpec, ManySpec


def crops(**rest: Any) -> dict[str, Any]:
    return {
        "boxes": {"op": "t.find", "in": {"image": "camera"}},
        "crops": {"op": "t.crops", "in": {"image": "camera", "boxes": "boxes"}},
        **rest,
    }


def test_kinds_that_do_not_fit_show_both_sides(house: Any) -> None:
    problem = house.problem(house.use({"tracks": {"op": "t.track", "in": {"boxes": "camera"}}}))
    assert problem.path == "graph.tracks.in.boxes"
    assert problem.position.line == house.line("graph.tracks.in.boxes")
    assert problem.expected == "pet.tracks.boxes: detections"
    assert problem.got == "pet.camera: image 64x48 yuv420p"


def test_what_an_operator_refuses_shows_both_sides(house: Any) -> None:
    problem = house.problem(house.use(crops(all={"op": "t.gather", "in": {"boxes": "boxes"}})))
    assert problem.path == "graph.all.in.boxes"
    assert problem.expected == "pet.all.boxes: a list"
    assert problem.got == "pet.boxes: detections (at most 10)"
    assert problem.hint == "put t.crops before it"


def test_an_operator_that_breaks_is_named_and_no_traceback(house: Any) -> None:
    problem = house.problem(house.use({"boxes": {"op": "t.broken", "in": {"image": "camera"}}}))
    assert problem.got == "ZeroDivisionError: oops"
    assert "fault of the operator" in problem.hint


def test_a_format_that_a_port_does_not_take_is_converted_to_its_best(house: Any) -> None:
    plan = house.plan(house.use({"boxes": {"op": "t.findbgr", "in": {"image": "camera"}}}))
    convert, boxes = plan.nodes
    assert (convert.op, convert.config["format"], convert.names) == ("image.convert", "bgr24", ("pet.boxes › image.convert",))
    assert boxes.inputs[0][1].address == convert.address
    assert dict(convert.outputs)["image"] == ImageSpec(64, 48, "bgr24")


def test_a_format_that_fits_is_not_converted(house: Any) -> None:
    probe = house.probe
    plan = house.plan(
        house.use({"boxes": {"op": "t.findbgr", "in": {"image": "camera"}}}), probe=replace(probe, spec=ImageSpec(64, 48, "rgb24"))
    )
    assert [node.op for node in plan.nodes] == ["t.findbgr"]


def test_a_conversion_is_shared(house: Any) -> None:
    graph = {
        "boxes": {"op": "t.findbgr", "in": {"image": "camera"}},
        "more": {"op": "t.findbgr", "in": {"image": "camera"}, "config": {"score": 0.9}},
    }
    plan = house.plan(house.use(graph), house.use(graph, name="other"))
    assert [node.op for node in plan.nodes].count("image.convert") == 1


def test_lists_are_taken_item_by_item(house: Any) -> None:
    plan = house.plan(house.use(crops(faces={"op": "t.find", "in": {"image": "crops"}}, all={"op": "t.gather", "in": {"boxes": "faces"}})))
    nodes = {node.names[0]: node for node in plan.nodes}
    assert nodes["pet.faces"].lifted == ("image",)
    assert dict(nodes["pet.faces"].outputs)["boxes"] == ManySpec(house.boxes, 4)
    assert nodes["pet.all"].lifted == ()
    assert dict(nodes["pet.all"].outputs)["boxes"] == house.boxes


def test_a_list_is_converted_item_by_item(house: Any) -> None:
    plan = house.plan(house.use(crops(faces={"op": "t.shrink", "in": {"image": "crops"}})))
    shrink = next(node for node in plan.nodes if node.op == "t.shrink")
    assert dict(shrink.outputs)["image"] == ManySpec(ImageSpec(16, 16, "rgb24"), 4)


def test_a_list_of_lists_is_refused(house: Any) -> None:
    problem = house.problem(house.use(crops(again={"op": "t.crops", "in": {"image": "crops", "boxes": "boxes"}})))
    assert "a list of lists has no meaning" in problem.hint
    assert problem.got == "pet.crops: at most 4 x image 32x32 rgb24"


def test_lists_taken_together_must_be_equally_long(house: Any) -> None:
    other = {"op": "t.crops", "in": {"image": "camera", "boxes": "boxes"}, "config": {"most": 5}}
    problem = house.problem(house.use(crops(other=other, met={"op": "t.meet", "in": {"left": "crops", "right": "other"}})))
    assert "as long as pet.crops" in problem.expected
    assert "at most 5" in problem.got


def test_optional_inputs_may_be_left_out(house: Any) -> None:
    plan = house.plan(house.use({"met": {"op": "t.meet", "in": {"left": "camera", "right": "camera"}}}))
    assert [port for port, _ in plan.nodes[0].inputs] == ["left", "right"]


def test_the_first_port_of_a_join_is_its_anchor(house: Any) -> None:
    graph = {"met": {"op": "t.meet", "in": {"right": "back", "left": "front"}}}
    plan = house.plan(house.use(graph, bind={"back": "b", "front": "f"}))
    assert plan.nodes[0].streams == ("f", "b")
    assert plan.sinks[0].stream == "f"
    assert plan.sinks[0].streams == ("f", "b")
