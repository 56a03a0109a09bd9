# ruff: noqa: E501 (whole messages)
from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.document import Document
from manifests.graph import check_graph
from manifests.schema import Business


def check(
    graph: dict[str, Any], outputs: dict[str, str], inputs: tuple[str, ...] = ("camera",), models: dict[str, str] | None = None
) -> list[str]:
    nodes = {
        name: {"op": "x", "in": reads} if isinstance(reads, str | dict) and "op" not in reads else reads for name, reads in graph.items()
    }
    value = {
        "name": "b",
        "version": "1.0.0",
        "inputs": dict.fromkeys(inputs, "image"),
        "models": models or {},
        "graph": nodes,
        "outputs": outputs,
    }
    problems = check_graph(Business.model_validate(value), Document("f", Path(), value))
    return [str(problem).removeprefix("f: ") for problem in problems]


def test_sound() -> None:
    assert check({"a": {"image": "camera"}, "b": {"x": "a", "y": "a.boxes"}}, {"out": "b", "two": "a.boxes"}) == []


@pytest.mark.parametrize(
    ("graph", "outputs", "messages"),
    [
        ({"a": {"image": "camra"}}, {"o": "a"}, ["graph.a.in.image: expected one of `camera`, `a`, got `camra` - did you mean `camera`?"]),
        ({"a": {"image": "camera.image"}}, {"o": "a"}, ["graph.a.in.image: expected `camera`: an input has no ports, got `camera.image`"]),
        ({"a": {"image": "camera"}, "b": {"x": "a."}}, {"o": "b"}, ["graph.b.in.x: expected `node` or `node.port`, got `a.`"]),
        ({"a": {"image": "camera"}, "b": {"x": "a.p.q"}}, {"o": "b"}, ["graph.b.in.x: expected `node` or `node.port`, got `a.p.q`"]),
        ({"a": {"image": "camera"}}, {"o": "b"}, ["outputs.o: expected `a`, got `b` - if it is a port, name its node too: `NODE.b`"]),
        ({"a": {"image": "camera"}}, {"o": "b.p"}, ["outputs.o: expected `a`, got `b.p`"]),
        ({"a": {"image": "camera"}}, {"o": ""}, ["outputs.o: expected `a`, got ``"]),
        ({"a": {"image": "camera"}}, {"o": "camera"}, ["outputs.o: expected a node: `a`, got the input `camera` - an output is what a node makes of an input"]),
        ({"camera": {"image": "camera"}}, {"o": "camera"}, ["graph.camera: expected a node named unlike every input, got `camera` - rename one of the two"]),
        ({"a": {"image": "camera"}, "b": {"x": "camera"}}, {"o": "a"}, ["graph.b: expected a node that an output or another node reads, got one that nothing reads - use it or remove it"]),
        ({"a": {}}, {"o": "a"}, ["inputs.camera: expected an input that a node reads, got one that nothing reads - use it or remove it"]),
        ({"a": {"op": "x", "in": {"i": "camera"}, "model": "m"}}, {"o": "a"}, ["graph.a.model: expected nothing (there is none), got `m` - add it to `models`: {m: NAME@^1}"]),
        ({"a": {"x": "a", "y": "camera"}}, {"o": "a"}, ["graph.a.in: expected a graph without cycles, got a -> a - frames flow one way only"]),
    ],
)  # fmt: skip
def test_refused(graph: dict[str, Any], outputs: dict[str, str], messages: list[str]) -> None:
    assert check(graph, outputs) == messages


def test_models() -> None:
    node = {"op": "x", "in": {"i": "camera"}, "model": "detectr"}
    assert check({"a": node}, {"o": "a"}, models={"detector": "m@^1"}) == [
        "graph.a.model: expected `detector`, got `detectr` - did you mean `detector`?"
    ]
    assert "models.detector: expected a model that a node uses" in check({"a": {"i": "camera"}}, {"o": "a"}, models={"detector": "m@^1"})[0]


def test_cycles_are_drawn_in_the_direction_of_the_frames() -> None:
    graph = {"a": {"x": "c", "i": "camera"}, "b": {"x": "a"}, "c": {"x": "b"}, "d": {"x": "e"}, "e": {"x": "d.port"}}
    lines = check(graph, {"o": "c"})
    drawn = sorted(line.split("got ")[1].split(" - ")[0] for line in lines)
    assert len(drawn) == 2
    steps = [tuple(line.split(" -> ")) for line in drawn]
    for cycle in steps:
        assert cycle[0] == cycle[-1]
        for before, after in pairwise(cycle):
            assert before in {name.partition(".")[0] for name in graph[after].values()}


NODES = st.integers(2, 8)


@given(NODES.flatmap(lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20)))
def test_a_cycle_is_found_where_one_is(edges: list[tuple[int, int]]) -> None:
    count = max((max(edge) for edge in edges), default=0) + 1
    graph: dict[str, dict[str, str]] = {f"n{i}": {"i": "camera"} for i in range(count)}
    for before, after in edges:
        graph[f"n{after}"][f"p{before}"] = f"n{before}"
    lines = check(graph, {f"o{i}": f"n{i}" for i in range(count)})
    reach = {i: {after for before, after in edges if before == i} for i in range(count)}
    for _ in range(count):
        reach = {i: seen | {far for near in seen for far in reach[near]} for i, seen in reach.items()}
    assert bool(lines) == any(i in seen for i, seen in reach.items())


def test_long_chain() -> None:
    graph = {"n0": {"i": "camera"}} | {f"n{i}": {"i": f"n{i - 1}"} for i in range(1, 512)}
    assert check(graph, {"o": "n511"}) == []
    graph["n0"]["back"] = "n511"
    assert "graph without cycles" in check(graph, {"o": "n511"})[0]
