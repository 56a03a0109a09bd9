from __future__ import annotations

from typing import Any

import pytest


def detect(op: str = "t.detect", **config: Any) -> dict[str, Any]:
    return {"boxes": {"op": op, "in": {"image": "camera"}, "model": "detector", "config": config}}


def with_model(house: Any, graph: Any, **rest: Any) -> Any:
    return house.use(graph, models={"detector": house.model()}, **rest)


def test_a_composite_becomes_its_parts_and_keeps_the_way(house: Any) -> None:
    plan = house.plan(with_model(house, detect()))
    assert [(node.op, node.names) for node in plan.nodes] == [
        ("t.prepare", ("pet.boxes › t.prepare",)),
        ("t.infer", ("pet.boxes › t.infer",)),
        ("t.decode", ("pet.boxes › t.decode",)),
    ]
    assert all(node.where == (f"m.yaml:{house.line('graph.boxes')}",) for node in plan.nodes)


def test_composites_nest_and_steps_of_one_operator_are_told_apart(house: Any) -> None:
    plan = house.plan(with_model(house, detect("t.outer")))
    assert [node.names[0] for node in plan.nodes] == [
        "pet.boxes › t.detect › t.prepare",
        "pet.boxes › t.detect › t.infer",
        "pet.boxes › t.detect › t.decode",
        "pet.boxes › t.keep (first)",
        "pet.boxes › t.keep (second)",
    ]


def test_parts_of_a_composite_that_nobody_reads_are_left_out_and_nodes_of_the_manifest_stay(house: Any) -> None:
    graph = detect() | {"unread": {"op": "t.shrink", "in": {"image": "camera"}, "config": {"by": 3}}}
    plan = house.plan(with_model(house, graph, outputs={"out": "boxes"}))
    assert [node.names[0] for node in plan.nodes if node.op == "t.shrink"] == ["pet.unread"]


def test_nodes_may_be_written_in_any_order(house: Any) -> None:
    graph = {"tracks": {"op": "t.track", "in": {"boxes": "boxes.boxes"}}, "boxes": {"op": "t.find", "in": {"image": "camera"}}}
    plan = house.plan(house.use(graph, {"out": "tracks"}))
    assert [node.op for node in plan.nodes] == ["t.find", "t.track"]


def test_an_unknown_operator_names_the_nearest(house: Any) -> None:
    problem = house.problem(house.use({"boxes": {"op": "t.fnid", "in": {"image": "camera"}}}))
    assert problem.path == "graph.boxes.op"
    assert problem.hint == "did you mean `t.find`?"


def test_an_operator_of_ones_own_must_be_installed(house: Any) -> None:
    problem = house.problem(house.use({"boxes": {"op": "example.light", "in": {"image": "camera"}}}))
    assert problem.hint == "`ace ops` lists them; one of your own is found once its distribution is installed"


def test_what_reads_something_that_failed_is_no_problem_of_its_own(house: Any) -> None:
    graph = {"boxes": {"op": "t.fnid", "in": {"image": "camera"}}, "tracks": {"op": "t.track", "in": {"boxes": "boxes"}}}
    assert house.problem(house.use(graph)).path == "graph.boxes.op"


@pytest.mark.parametrize(
    ("inputs", "path", "expected", "hint"),
    [
        ({"imgae": "camera", "image": "camera"}, "graph.boxes.in.imgae", "image", "did you mean `image`?"),
        ({}, "graph.boxes.in.image", "t.find to read image (image)", ""),
        ({"image": "camra"}, "graph.boxes.in.image", "one of `camera`, `boxes`", "did you mean `camera`?"),
    ],
)
def test_inputs_must_be_ports_and_things_that_exist(house: Any, inputs: Any, path: str, expected: str, hint: str) -> None:
    problems = house.problems(house.use({"boxes": {"op": "t.find", "in": inputs}}))
    problem = problems[0]
    assert problem.path == path
    assert expected in problem.expected
    assert problem.hint == hint


def test_an_unknown_port_of_a_node(house: Any) -> None:
    graph = {"boxes": {"op": "t.find", "in": {"image": "camera"}}, "tracks": {"op": "t.track", "in": {"boxes": "boxes.boxs"}}}
    problem = house.problem(house.use(graph))
    assert problem.path == "graph.tracks.in.boxes"
    assert problem.hint == "did you mean `boxes.boxes`?"


def test_a_cycle_says_its_way(house: Any) -> None:
    graph = {"a": {"op": "t.track", "in": {"boxes": "b"}}, "b": {"op": "t.track", "in": {"boxes": "a"}}}
    problem = house.problems(house.use(graph))[0]
    assert problem.got == "a → b → a"


def test_an_input_without_a_stream(house: Any) -> None:
    use = house.use({"boxes": {"op": "t.find", "in": {"image": "camera"}}})
    problem = house.problem(type(use)(use.business, {}, {}, positions=use.positions))
    assert "--bind camera=SOURCE" in problem.hint


def test_an_output_must_be_a_node(house: Any) -> None:
    graph = {"boxes": {"op": "t.find", "in": {"image": "camera"}}}
    assert house.problem(house.use(graph, {"out": "camera"})).path == "outputs.out"
    assert house.problem(house.use(graph, {"out": "boxs"})).hint == "did you mean `boxes`?"


@pytest.mark.parametrize(
    ("op", "name", "expected"),
    [("t.find", "detector", "no model"), ("t.detect", None, "name its model"), ("t.detect", "detectr", "`detector`")],
)
def test_models_are_given_where_they_are_needed_and_nowhere_else(house: Any, op: str, name: str | None, expected: str) -> None:
    graph = {"boxes": {"op": op, "in": {"image": "camera"}, "model": name}}
    problem = house.problem(with_model(house, graph))
    assert problem.path == "graph.boxes.model"
    assert expected in problem.expected


def test_a_model_that_cannot_be_read_is_reported_once_at_its_manifest(house: Any) -> None:
    models = {"detector": house.model(path="corrupt.onnx")}
    problem = house.problem(house.use(detect(), models=models), house.use(detect(), name="other", models=models))
    assert str(problem.position) == "models.yaml:1"
    assert "got noise" in problem.got


def test_a_model_that_does_not_fit_its_composite(house: Any) -> None:
    problem = house.problem(house.use(detect(), models={"detector": house.model("unfit")}))
    assert (problem.path, problem.expected) == ("graph.boxes.model", "pet.boxes: a model that fits")


def test_a_composite_that_is_wired_wrongly_is_its_own_fault(house: Any) -> None:
    problem = house.problem(with_model(house, detect("t.tangled")))
    assert "fault of the operator" in problem.hint


def test_a_composite_that_contains_itself_comes_to_an_end(house: Any) -> None:
    assert "deep" in house.problem(with_model(house, detect("t.endless"))).expected


def test_an_operator_that_cannot_be_used_says_why(house: Any) -> None:
    problem = house.problem(house.use({"boxes": {"op": "t.unusable", "in": {"image": "camera"}}}))
    assert problem.got == "`t.unusable`: it cannot be imported"


def test_hundreds_of_nodes_in_a_row(house: Any) -> None:
    graph: dict[str, Any] = {"n0": {"op": "t.find", "in": {"image": "camera"}}}
    graph |= {f"n{place}": {"op": "t.keep", "in": {"boxes": f"n{place - 1}"}} for place in range(1, 512)}
    backwards = dict(reversed(graph.items()))
    # equal work in a row is not equal: each reads another
    assert len(house.plan(house.use(backwards, {"out": "n511"})).nodes) == 512
