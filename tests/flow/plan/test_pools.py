from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.spec import ImageSpec, ManySpec, RecordsSpec
from flow.plan.pools import alive, pools
from flow.plan.value import Edge, Policy, Ref, Stream

PICTURE = ImageSpec(64, 48, "yuv420p")
REF, RECORDS, SAME, OTHER = Ref("s", "image"), Ref("n", "boxes"), Ref("c", "image"), Ref("d", "image")
SPECS = {REF: PICTURE, RECORDS: RecordsSpec("detections", 4), SAME: PICTURE, OTHER: ImageSpec(32, 24, "bgr24")}


def edge(number: int, producer: int, consumer: int, capacity: int, *refs: Ref, **rest: Any) -> Edge:
    return Edge(number, producer, consumer, refs or (REF,), capacity, 0, **rest)


def stream(*, live: bool = False, policy: Policy = "block", queue: int = 1, kept: int = 0) -> Stream:
    return Stream(name="s", address="s", source="x", spec=PICTURE, fps=25.0, live=live, policy=policy, queue=queue, kept=kept)


def slots(edges: list[Edge], source: Stream | None = None, replicas: dict[int, int] | None = None) -> int:
    made = pools(edges, {0: source} if source else {}, replicas or {}, SPECS)
    return next(pool.slots for pool in made if pool.ref == REF)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, 1 + 2),
        (stream(), 1 + 1 + 2),
        (stream(live=True), 1 + 1 + 1 + 2),
        (stream(live=True, policy="drop_oldest", queue=7), 1 + 1 + 7 + 2),
        (stream(live=True, kept=4), 1 + 1 + 1 + 2 + 4),
    ],
)
def test_one_edge(source: Stream | None, expected: int) -> None:
    assert slots([edge(0, 0, 1, 2)], source) == expected


def test_edges_that_wait_see_the_same_frames() -> None:
    assert slots([edge(0, 0, 1, 2), edge(1, 0, 2, 6)]) == 1 + 6


def test_edges_that_thin_out_choose_for_themselves() -> None:
    assert slots([edge(0, 0, 1, 2, policy="latest"), edge(1, 0, 2, 6, policy="latest")]) == 1 + (2 + 1) + (6 + 1)
    assert slots([edge(0, 0, 1, 2, policy="drop_oldest", queue=4)]) == 1 + 2 + 4


def test_edges_that_go_together_choose_the_same() -> None:
    made = [
        edge(number, 0, number + 1, capacity, policy="latest", together=group)
        for number, (capacity, group) in enumerate([(2, 0), (6, 0), (3, None)])
    ]
    assert slots(made) == 1 + (6 + 1) + (3 + 1)


def test_a_picture_that_is_passed_on_stays_alive_downstream() -> None:
    assert slots([edge(0, 0, 1, 2), edge(1, 1, 2, 4, REF)]) == 1 + 2 + 4
    assert slots([edge(0, 0, 1, 2), edge(1, 1, 2, 4, REF), edge(2, 2, 3, 3, REF)]) == 1 + 2 + 4 + 3


def test_a_picture_of_the_same_shape_may_be_the_same() -> None:
    assert slots([edge(0, 0, 1, 2), edge(1, 1, 2, 4, SAME)]) == 1 + 2 + 4
    assert slots([edge(0, 0, 1, 2), edge(1, 1, 2, 4, OTHER)]) == 1 + 2


def test_each_replica_passes_on_as_many() -> None:
    assert slots([edge(0, 0, 1, 4), edge(1, 1, 2, 3, REF)], replicas={1: 2}) == 1 + 4 + 2 * 3


def test_a_node_beside_the_source_waits_for_no_camera() -> None:
    made = pools([edge(0, 0, 1, 2, REF, OTHER)], {0: stream(live=True)}, {}, SPECS)
    assert [(pool.ref, pool.slots) for pool in made] == [(REF, 1 + 1 + 1 + 2), (OTHER, 1 + 2)]


def test_a_picture_passed_on_within_its_chain_counts_on_every_edge() -> None:
    assert slots([edge(0, 0, 1, 2), edge(1, 0, 2, 5, SAME)]) == 1 + 5
    assert slots([edge(0, 0, 1, 2), edge(1, 0, 2, 5, OTHER)]) == 1 + 2


def test_records_need_no_pool_and_an_edge_without_the_value_no_slot() -> None:
    made = pools([edge(0, 0, 1, 2), edge(1, 0, 2, 9, RECORDS)], {}, {}, SPECS)
    assert [(pool.ref, pool.slots) for pool in made] == [(REF, 3)]


def test_slots_are_whole_pages_and_hold_whole_lists() -> None:
    many = Ref("m", "crops")
    specs = SPECS | {many: ManySpec(ImageSpec(100, 100, "bgr24"), 3)}
    small, large = pools([edge(0, 0, 1, 2, REF, many)], {}, {}, specs)
    assert small.slot_bytes == 8192  # 64 x 48 x 1.5 = 4608
    assert large.slot_bytes % 4096 == 0
    assert large.slot_bytes >= specs[many].nbytes


def test_alive_counts_the_longest_of_what_is_passed_on() -> None:
    made = [edge(0, 0, 1, 2), edge(1, 1, 2, 4, REF), edge(2, 1, 3, 5, SAME)]
    assert alive(0, REF, made, {}, SPECS) == 2 + 5


class Run:
    """Frames through chains, in random order of steps: a chain takes a frame when all its inputs have it, every output has credit and a
    slot is free; its inputs are acknowledged once its outputs are sent. Every chain writes a picture of its own."""

    def __init__(self, count: int, edges: list[Edge], frames: int) -> None:
        self.edges, self.frames = edges, frames
        self.specs = {Ref(str(chain), "image"): ImageSpec(16 + chain, 16, "gray8") for chain in range(count)}
        source = stream()
        self.slots = {pool.chain: pool.slots for pool in pools(edges, {0: source}, {}, self.specs)}
        self.waiting: dict[int, deque[int]] = {edge.id: deque() for edge in edges}
        self.in_flight: dict[int, list[int]] = {edge.id: [] for edge in edges}
        self.next = [0] * count
        self.done: dict[int, list[int]] = {chain: [] for chain in range(count)}
        self.starved = 0

    def held(self, chain: int) -> int:
        """Slots of the chain's pool that some consumer has not acknowledged."""
        return len({frame for edge in self.edges if edge.producer == chain for frame in self.in_flight[edge.id]})

    def step(self, chain: int) -> bool:
        inbound = [edge for edge in self.edges if edge.consumer == chain]
        outbound = [edge for edge in self.edges if edge.producer == chain]
        frame = self.next[chain]
        if frame == self.frames or any(not self.waiting[edge.id] for edge in inbound):
            return False
        if any(len(self.in_flight[edge.id]) >= edge.capacity for edge in outbound):
            return False
        if outbound and self.held(chain) >= self.slots[chain]:
            self.starved += 1
            return False
        assert all(self.waiting[edge.id].popleft() == frame for edge in inbound)
        for edge in outbound:
            self.waiting[edge.id].append(frame)
            self.in_flight[edge.id].append(frame)
        for edge in inbound:
            self.in_flight[edge.id].remove(frame)
        self.done[chain].append(frame)
        self.next[chain] += 1
        return True


@settings(max_examples=80, deadline=None)
@given(st.data(), st.randoms(use_true_random=False))
def test_random_graphs_run_to_their_end_at_exactly_this_size(data: st.DataObject, order: random.Random) -> None:
    from flow.plan.chains import Layout, Link
    from flow.plan.edges import edges as sized
    from flow.plan.value import Chain, Lane

    count = data.draw(st.integers(2, 6))
    links = []
    for consumer in range(1, count):
        producers = data.draw(st.lists(st.integers(0, consumer - 1), min_size=1, max_size=3, unique=True))
        links += [Link(producer, consumer, (Ref(str(producer), "image"),)) for producer in producers]
    chains = tuple(Chain(number, (), "s" if number == 0 else None) for number in range(count))
    lanes = tuple(Lane(number, "", (number,)) for number in range(count))
    specs = {Ref(str(chain), "image"): ImageSpec(16 + chain, 16, "gray8") for chain in range(count)}
    run = Run(count, list(sized(Layout(chains, lanes, tuple(links)), [stream()], specs)), frames=30)
    while True:
        ready = list(range(count))
        order.shuffle(ready)
        if not any(run.step(chain) for chain in ready):
            break
    assert all(done == list(range(30)) for done in run.done.values())
    assert run.starved == 0
