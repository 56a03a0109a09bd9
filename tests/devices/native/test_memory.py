from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.native.arrays import ALIGNMENT
from devices.native.ir import GraphError
from devices.native.memory import MAX_ARENA, Buffer, lower_bound, plan


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Buffer]:
    spans = draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 20), st.integers(0, 6)), max_size=40))
    return [Buffer(f"b{index}", size, first, first + length) for index, (size, first, length) in enumerate(spans)]


@settings(max_examples=300)
@given(lifetimes())
def test_what_lives_at_one_time_does_not_overlap(buffers: list[Buffer]) -> None:
    found = plan(buffers)
    assert set(found.offsets) == {buffer.name for buffer in buffers}
    for index, one in enumerate(buffers):
        start = found.offsets[one.name]
        assert start % ALIGNMENT == 0
        assert start + one.nbytes <= found.nbytes
        for other in buffers[index + 1 :]:
            together = one.first <= other.last and other.first <= one.last
            apart = start + one.nbytes <= found.offsets[other.name] or found.offsets[other.name] + other.nbytes <= start
            assert apart or not together


@given(lifetimes())
def test_the_bound_is_below_every_plan(buffers: list[Buffer]) -> None:
    assert lower_bound(buffers) == plan(buffers).bound <= plan(buffers).nbytes


@given(lifetimes())
def test_the_bound_is_what_one_step_needs(buffers: list[Buffer]) -> None:
    sums = [sum(-(-b.nbytes // 64) * 64 for b in buffers if b.first <= step <= b.last) for step in range(30)]
    assert lower_bound(buffers) == max(sums)


def test_a_chain_needs_two_buffers() -> None:
    """Each step reads one value and writes the next."""
    found = plan([Buffer(f"v{step}", 1000, step, step + 1) for step in range(10)])
    assert found.nbytes == found.bound == 2048


def test_too_much_is_refused() -> None:
    with pytest.raises(GraphError, match=f"expected at most {MAX_ARENA} bytes alive"):
        plan([Buffer("a", MAX_ARENA, 0, 1), Buffer("b", 64, 1, 2)])
