from __future__ import annotations

from typing import Any

import pytest


def find(**config: Any) -> dict[str, Any]:
    return {"boxes": {"op": "t.find", "in": {"image": "camera"}, "config": config}}


def test_defaults_are_filled(house: Any) -> None:
    plan = house.plan(house.use(find(names=["b", "a"])))
    assert plan.nodes[0].config == {"score": 0.5, "names": ["a", "b"], "inner": None}


def test_the_device_changes_one_business(house: Any) -> None:
    one = house.use(find(score=0.4), set={"boxes.score": 0.7, "boxes.inner.depth": 3})
    other = house.use(find(score=0.4), name="other")
    plan = house.plan(one, other)
    configs = {node.names[0]: node.config for node in plan.nodes}
    assert configs["pet.boxes"]["score"] == 0.7
    assert configs["pet.boxes"]["inner"] == {"depth": 3, "modes": ["a"]}
    assert configs["other.boxes"]["score"] == 0.4
    assert one.business.graph["boxes"].config == {"score": 0.4}
    assert plan.changes[0] == f"pet.boxes.score = 0.7 (m.yaml:{house.line('set.boxes.score')})"


def test_an_unknown_setting_names_the_nearest(house: Any) -> None:
    problem = house.problem(house.use(find(scoer=0.4)))
    assert problem.path == "graph.boxes.config.scoer"
    assert problem.position.line == house.line("graph.boxes.config.scoer")
    assert "`score`" in problem.expected
    assert "scoer" in problem.got
    assert problem.hint == "did you mean `score`?"


def test_an_unknown_setting_inside_another_names_its_neighbours(house: Any) -> None:
    problem = house.problem(house.use(find(inner={"depht": 1})))
    assert problem.path == "graph.boxes.config.inner.depht"
    assert problem.got == "depht"


def test_a_wrong_value_says_expected_and_got(house: Any) -> None:
    problem = house.problem(house.use(find(score="high")))
    assert "number" in problem.expected
    assert problem.got == "`high`"


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        ({"line": [[1, 2], [3]]}, [("line.1.1", "one more item", "the end of the list")]),
        ({"line": [1, 2]}, [("line.0", "a list", "1"), ("line.1", "a list", "2")]),
        ({"line": [[1, 2], [3, "x"]]}, [("line.1.1", "a number", "`x`")]),
        ({"line": [[1, 2], [3, 4], [5, 6]]}, [("line", "at most 2 items", "a list of 3")]),
        ({"line": "across"}, [("line", "a list", "`across`")]),
    ],
)
def test_a_wrong_list_says_where_it_is_wrong_and_what_it_is_as_a_whole(house: Any, config: Any, problems: Any) -> None:
    graph = {**find(), "count": {"op": "count.line", "in": {"detections": "boxes"}, "config": config}}
    found = house.problems(house.use(graph))
    assert [(each.path.removeprefix("graph.count.config."), each.expected, each.got) for each in found] == problems
    assert {each.hint for each in found} == {"`line` is [[number, number], [number, number]]"}


def test_a_list_is_not_called_too_short_because_an_item_is_wrong(house: Any) -> None:
    graph = {**find(), "count": {"op": "count.zone", "in": {"detections": "boxes"}, "config": {"zone": [[1, 2], [3, 4], [5, "x"]]}}}
    assert house.problem(house.use(graph)).path == "graph.count.config.zone.2.1"


def test_a_wrong_choice_names_the_nearest(house: Any) -> None:
    config = {"line": [[1, 2], [3, 4]], "anchor": "botom"}
    problem = house.problem(house.use({**find(), "count": {"op": "count.line", "in": {"detections": "boxes"}, "config": config}}))
    assert (problem.expected, problem.hint) == ("one of `bottom`, `center`, `top`", "did you mean `bottom`?")


def test_numbers_that_are_not_finite_are_refused(house: Any) -> None:
    assert "finite" in house.problem(house.use(find(score=float("inf")))).expected


def test_a_change_by_the_device_is_reported_where_it_stands(house: Any) -> None:
    problem = house.problem(house.use(find(), set={"boxes.score": "high"}))
    assert problem.path == "set.boxes.score"
    assert problem.position.line == house.line("set.boxes.score")


@pytest.mark.parametrize(("key", "expected"), [("boxs.score", "boxes"), ("boxes", "node.key"), ("boxes.score.deep", "mapping")])
def test_a_change_of_something_that_is_not_there(house: Any, key: str, expected: str) -> None:
    problem = house.problem(house.use(find(score=0.5), set={key: 1}))
    assert problem.path == f"set.{key}"
    assert expected in problem.expected


def test_all_problems_are_reported_at_once(house: Any) -> None:
    problems = house.problems(house.use(find(score="high", names=3)), house.use(find(scoer=1), name="other"))
    assert len(problems) == 3
