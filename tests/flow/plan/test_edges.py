from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.spec import ImageSpec, ManySpec, RecordsSpec, TensorSpec, TensorsSpec
from flow.plan.chains import Layout, Link
from flow.plan.edges import CREDITS, MOST_WAITING, PATIENT_CREDITS, depths, edges, link_credits, links_in_use, payload, together
from flow.plan.value import Chain, Lane, Ref, Stream

PICTURE = ImageSpec(64, 48, "yuv420p")
REF = Ref("front", "image")


def layout(count: int, links: list[tuple[int, int]], replicas: dict[int, int] | None = None) -> Layout:
    """Each chain in a lane of its own."""
    chains = tuple(Chain(number, (), "front" if number == 0 else None) for number in range(count))
    lanes = tuple(Lane(number, str(number), (number,), replicas=(replicas or {}).get(number, 1)) for number in range(count))
    return Layout(chains, lanes, tuple(Link(producer, consumer, (REF,)) for producer, consumer in links))


def stream(**rest: Any) -> Stream:
    return Stream(name="front", address="front", source="x", spec=PICTURE, fps=25.0, live=False, **rest)


def capacities(made: Layout) -> list[int]:
    return [edge.capacity for edge in edges(made, [replace(stream(), live=True)], {REF: PICTURE})]


def test_a_straight_way_has_two_frames_an_edge() -> None:
    assert capacities(layout(3, [(0, 1), (1, 2)])) == [2, 2]


def test_the_short_way_into_a_join_holds_as_many_as_the_long_one() -> None:
    #  0 → 1 → 2 → 3, and 0 → 3
    assert capacities(layout(4, [(0, 1), (1, 2), (2, 3), (0, 3)])) == [2, 2, 2, 6]


def test_joins_behind_joins_add_up() -> None:
    #  0 → 1 → 2 (0 → 2), then 2 → 3 and 0 → 3
    assert capacities(layout(4, [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)])) == [2, 2, 4, 2, 6]


def test_every_replica_has_two_frames() -> None:
    assert capacities(layout(3, [(0, 1), (1, 2)], {1: 3})) == [6, 2]
    assert capacities(layout(3, [(0, 1), (1, 2), (0, 2)], {1: 3})) == [6, 2, 12]


def test_between_replicated_lanes_each_pair_that_meets_has_two() -> None:
    made = layout(3, [(0, 1), (1, 2)], {1: 2, 2: 2})
    assert capacities(made) == [4, 4]
    assert links_in_use(made, made.links[1]) == 2


@st.composite
def dags(draw: st.DrawFn) -> Layout:
    count = draw(st.integers(2, 7))
    links = set()
    for consumer in range(1, count):
        for producer in draw(st.lists(st.integers(0, consumer - 1), min_size=1, max_size=3, unique=True)):
            links.add((producer, consumer))
    replicas = {number: draw(st.sampled_from([1, 1, 2, 3])) for number in range(1, count)}
    return layout(count, sorted(links, key=lambda link: (link[1], link[0])), replicas)


@settings(max_examples=200, deadline=None)
@given(dags())
def test_no_way_into_a_join_is_tighter_than_another(made: Layout) -> None:
    given = link_credits(made, [])
    depth = depths(made, given)
    assert min(given) >= CREDITS
    for credit, link in zip(given, made.links, strict=True):
        assert depth[link.producer] + credit * links_in_use(made, link) == pytest.approx(
            depth[link.consumer], abs=links_in_use(made, link) * 16
        )
        assert depth[link.producer] + credit * links_in_use(made, link) <= depth[link.consumer]


@settings(max_examples=100, deadline=None)
@given(dags())
def test_without_replicas_all_ways_hold_exactly_equally_many(made: Layout) -> None:
    plain = layout(len(made.chains), [(link.producer, link.consumer) for link in made.links])
    given = link_credits(plain, [])
    depth = depths(plain, given)
    assert all(depth[link.producer] + credit == depth[link.consumer] for credit, link in zip(given, plain.links, strict=True))


def test_links_hold_few_frames_where_their_age_matters() -> None:
    made = layout(4, [(0, 1), (1, 2), (2, 3)])
    waiting, camera = stream(), replace(stream(), live=True)
    assert link_credits(made, [waiting]) == [PATIENT_CREDITS] * 3
    assert link_credits(layout(3, [(0, 1), (1, 2)], {1: 2}), [waiting]) == [CREDITS] * 2
    assert link_credits(made, [camera]) == link_credits(made, [stream(policy="latest")]) == [CREDITS] * 3


def test_frames_of_a_camera_have_room_while_they_wait_for_a_slower_one() -> None:
    """25 frames a second meet 5: five come while the first waits."""
    chains = (Chain(0, (), "front"), Chain(1, (), "side"), Chain(2, ()), Chain(3, ()))
    links = tuple(Link(producer, consumer, (REF,)) for producer, consumer in ((0, 2), (1, 2), (2, 3)))
    made = Layout(chains, tuple(Lane(number, str(number), (number,)) for number in range(4)), links)
    fast, slow = replace(stream(), live=True), replace(stream(), name="side", fps=5.0, live=True)
    assert link_credits(made, [fast, slow]) == [6, CREDITS, CREDITS]
    assert link_credits(made, [fast, replace(slow, fps=0.5)]) == [MOST_WAITING, CREDITS, CREDITS]
    assert link_credits(made, [fast, replace(slow, fps=25.0)]) == [CREDITS] * 3
    assert link_credits(made, [stream(), replace(slow, live=False)]) == [PATIENT_CREDITS] * 3


def test_frames_that_wait_within_a_worker_wait_for_its_acknowledgement_too() -> None:
    chains = (Chain(0, (), "front"), Chain(1, (), "side"), Chain(2, ()), Chain(3, ()))
    links = tuple(Link(producer, consumer, (REF,)) for producer, consumer in ((0, 2), (1, 3), (2, 3)))
    lanes = (Lane(0, "front", (0,)), Lane(1, "side", (1,)), Lane(2, "both", (2, 3)))
    fast, slow = replace(stream(), live=True), replace(stream(), name="side", fps=5.0, live=True)
    assert link_credits(Layout(chains, lanes, links), [fast, slow]) == [6, 2 * CREDITS, 6]
    assert link_credits(Layout(chains, (*lanes[:2], Lane(2, "one", (2,)), Lane(3, "other", (3,))), links), [fast, slow]) == [2, 4, 6]


def test_edges_that_meet_again_go_together() -> None:
    #  0 → 1 → 3 and 0 → 3 meet; 0 → 2 meets nobody
    links = [Link(*pair, (REF,)) for pair in [(0, 1), (0, 2), (0, 3), (1, 3)]]
    assert together(links) == [0, None, 0, None]
    live = edges(layout(4, [(0, 1), (0, 2), (0, 3), (1, 3)]), [stream(policy="latest")], {REF: PICTURE})
    assert [edge.together for edge in live] == [0, None, 0, None]


def test_ways_meet_through_others() -> None:
    #  0 → 1 → 4, 0 → 2 → 4 and 2 → 5, 0 → 3 → 5: all three meet
    links = [Link(*pair, (REF,)) for pair in [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (2, 5), (3, 5)]]
    assert together(links)[:3] == [0, 0, 0]
    assert together(links)[4:6] == [None, None]


def test_only_edges_behind_the_source_thin_out() -> None:
    made = edges(layout(3, [(0, 1), (1, 2)]), [stream(policy="drop_oldest", queue=5)], {REF: PICTURE})
    assert [(edge.policy, edge.queue) for edge in made] == [("drop_oldest", 5), ("block", 1)]


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([], 0),
        ([PICTURE], 256 + 1024),
        ([TensorsSpec((("x", TensorSpec("float32", (1, 100))),))], 256),
        ([RecordsSpec("detections", 10)], 256 + 280),
        ([PICTURE, RecordsSpec("detections", 10)], 256 + 1024 + 256 + 280),
        ([ManySpec(RecordsSpec("detections", 10), 3)], 256 + 3 * (128 + 280)),
        ([ManySpec(PICTURE, 3)], 256 + 3 * 128 + 1024),
    ],
)
def test_payload(specs: Any, expected: int) -> None:
    assert payload(specs) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 20), st.integers(1, 5), st.integers(0, 3))
def test_the_largest_values_fit_into_the_payload(records: int, items: int, extra: int) -> None:
    import numpy as np

    from flow.entry import EdgeCodec, Entry, Kind
    from ops.value import Many

    spec = RecordsSpec("detections", records + extra)
    many = ManySpec(spec, items)
    value = np.zeros(records + extra, spec.dtype)
    codec = EdgeCodec([spec, many], payload([spec, many]))
    entry = Entry(Kind.FRAME, 0, 0, 0, 0, None, 0, values=(value, Many([value] * items, [0] * items)))
    assert codec.decode(memoryview(codec.encode(entry, [None, None])), {}).values[0] is not None  # type: ignore[list-item]
