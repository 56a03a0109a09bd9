"""Laws of the layout, on random graphs of nodes of every kind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.spec import ImageSpec, RecordsSpec, TensorSpec, TensorsSpec
from flow.plan.chains import Layout, lay_out
from flow.plan.homes import homes
from flow.plan.value import Node, Ref, Sink, Stream

PICTURE = ImageSpec(64, 48, "yuv420p")
SPECS = (PICTURE, TensorsSpec((("x", TensorSpec("float32", (1, 4))),)), RecordsSpec("detections", 4))
BUSINESSES = ("a", "b", "c")


def stream(name: str, **rest: Any) -> Stream:
    return Stream(name=name, address=f"stream-{name}", source=f"/{name}.mp4", spec=PICTURE, fps=25.0, live=False, **rest)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Node], list[Stream], list[Sink], int]:
    streams = [stream(name) for name in ("s", "t")[: draw(st.integers(1, 2))]]
    made: list[tuple[Ref, tuple[str, ...]]] = [(Ref(each.address, "image"), (each.name,)) for each in streams]
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 12))):
        read = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
        engine = draw(st.sampled_from([None, None, None, "onnxruntime"]))
        device = draw(st.sampled_from(["cpu", "cpu", "cpu", "cpu", "npu"]))
        node = Node(
            address=f"n{number}",
            op="x",
            config={},
            inputs=tuple((f"p{place}", ref) for place, (ref, _) in enumerate(read)),
            outputs=(("out", draw(st.sampled_from(SPECS))),),
            kind=draw(st.sampled_from(["pure", "pure", "stateful"])),
            names=(f"a.n{number}",),
            businesses=tuple(draw(st.lists(st.sampled_from(BUSINESSES), min_size=1, max_size=2, unique=True))),
            where=(),
            streams=tuple(dict.fromkeys(name for _, names in read for name in names)),
            model=draw(st.sampled_from(["m1", "m2"])) if engine else None,
            engine=engine,
            device=device,
        )
        nodes.append(node)
        made.append((Ref(node.address, "out"), node.streams))
    sinks = []
    for number in range(draw(st.integers(0, 3))):
        ref, names = draw(st.sampled_from(made))
        business = draw(st.sampled_from(BUSINESSES))
        sinks.append(Sink(number, business, "1.0.0", "out", "-", ref, PICTURE, names[0], names))
    return nodes, streams, sinks, draw(st.integers(1, 4))


def made(graph: tuple[list[Node], list[Stream], list[Sink], int]) -> Layout:
    nodes, streams, sinks, cores = graph
    return lay_out(nodes, streams, sinks, homes(nodes, streams, sinks, cores=cores), cores=cores)


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_everything_has_one_place_and_order_is_kept(graph: Any) -> None:
    nodes, streams, sinks, _ = graph
    layout = made(graph)
    running = [address for chain in layout.chains for address in chain.nodes]
    assert sorted(running) == sorted(node.address for node in nodes)
    assert sorted(sink for chain in layout.chains for sink in chain.sinks) == [sink.id for sink in sinks]
    assert sorted(chain.stream for chain in layout.chains if chain.stream) == [each.name for each in streams]
    assert sorted(chain for lane in layout.lanes for chain in lane.chains) == list(range(len(layout.chains)))
    order = [node.address for node in nodes]
    for chain in layout.chains:
        assert list(chain.nodes) == sorted(chain.nodes, key=order.index)


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_chains_have_no_cycle_and_links_carry_all_that_is_read(graph: Any) -> None:
    nodes, streams, sinks, _ = graph
    layout = made(graph)
    assert all(link.producer < link.consumer for link in layout.links)
    place = {address: chain.id for chain in layout.chains for address in chain.nodes}
    place |= {each.address: chain.id for each in streams for chain in layout.chains if chain.stream == each.name}
    carried = {(link.producer, link.consumer, ref) for link in layout.links for ref in link.refs}
    needed = {(place[ref.address], place[node.address], ref) for node in nodes for _, ref in node.inputs}
    needed |= {(place[sink.value.address], chain.id, sink.value) for chain in layout.chains for sink in sinks if sink.id in chain.sinks}
    assert carried == {(producer, consumer, ref) for producer, consumer, ref in needed if producer != consumer}
    assert len({(link.producer, link.consumer) for link in layout.links}) == len(layout.links)


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_a_chain_that_decodes_reads_nothing_else_and_the_anchor_comes_first(graph: Any) -> None:
    nodes, _, sinks, _ = graph
    layout = made(graph)
    anchor_of = {node.address: node.streams[0] for node in nodes}
    anchors = {}
    for chain in layout.chains:
        inbound = [link for link in layout.links if link.consumer == chain.id]
        assert (chain.stream is None) == bool(inbound)
        mine = {anchor_of[address] for address in chain.nodes} | {sink.stream for sink in sinks if sink.id in chain.sinks}
        assert len(mine | ({chain.stream} if chain.stream else set())) == 1
        anchors[chain.id] = chain.stream or mine.pop()
        if inbound:
            assert anchors[inbound[0].producer] == anchors[chain.id]


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_only_pure_inference_is_replicated_and_threads_keep_to_the_cores(graph: Any) -> None:
    nodes, _, _, cores = graph
    layout = made(graph)
    kinds = {node.address: node for node in nodes}
    inferring = 0
    for lane in layout.lanes:
        inside = [kinds[address] for chain in lane.chains for address in layout.chains[chain].nodes]
        assert {node.device for node in inside} <= {lane.device}
        if lane.replicas > 1:
            assert all(node.kind == "pure" for node in inside)
            assert not any(layout.chains[chain].sinks or layout.chains[chain].stream for chain in lane.chains)
        if cores > 1 and lane.device == "cpu" and any(node.engine for node in inside):
            assert len({node.model for node in inside if node.engine}) == 1
            inferring += lane.replicas * lane.threads
    assert inferring <= max(cores, sum(any(kinds[a].engine for c in lane.chains for a in layout.chains[c].nodes) for lane in layout.lanes))


@settings(max_examples=80, deadline=None)
@given(graphs())
def test_businesses_share_a_tail_only_through_state(graph: Any) -> None:
    nodes, streams, sinks, _ = graph
    found = homes(nodes, streams, sinks, cores=2)
    linked = {business: {business} for business in BUSINESSES}
    for node in nodes:
        if node.kind != "pure" and node.device == "cpu" and node.engine is None:
            together = set().union(*(linked[business] for business in node.businesses))
            for business in together:
                linked[business] = together
    for sink in sinks:
        assert set(found.sinks[sink.id].name.split(" + ")) <= linked[sink.business]


def test_the_same_graph_is_laid_out_the_same(house: Any) -> None:
    graph = {"boxes": {"op": "t.find", "in": {"image": "camera"}}}
    assert house.plan(house.use(graph)) == house.plan(house.use(graph))


@pytest.mark.parametrize("cores", [1, 2])
def test_joins_of_two_streams_are_chains_of_their_own(house: Any, cores: int) -> None:
    graph = {
        "one": {"op": "t.meet", "in": {"left": "front", "right": "back"}},
        "two": {"op": "t.meet", "in": {"left": "back", "right": "one"}},
        "three": {"op": "t.meet", "in": {"left": "front", "right": "two"}},
    }
    plan = house.plan(house.use(graph, bind={"front": "f", "back": "b"}), cores=cores)
    joins = [[plan.node(address).names[0] for address in chain.nodes] for chain in plan.chains if chain.nodes]
    assert joins == [["pet.one"], ["pet.two"], ["pet.three"]]
