from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flow.sources.timeline import Timeline

PERIOD = 40


def times(*pts: int | None, timeline: Timeline | None = None) -> list[int]:
    timeline = timeline or Timeline(PERIOD)
    return [timeline.next(one) for one in pts]


def test_starts_at_zero_and_keeps_the_source_s_steps() -> None:
    timeline = Timeline(PERIOD)
    assert times(1536, 1576, 1700, timeline=timeline) == [0, 40, 164]
    assert timeline.repaired == 0


def test_missing_times_are_filled_with_the_period() -> None:
    timeline = Timeline(PERIOD)
    assert times(None, None, 500, 540, None, 620, timeline=timeline) == [0, 40, 80, 120, 160, 200]
    assert timeline.repaired == 3


def test_one_bad_time_does_not_shift_what_follows() -> None:
    timeline = Timeline(PERIOD)
    assert times(0, 40, 80, 60, 160, 200, timeline=timeline) == [0, 40, 80, 120, 160, 200]
    assert timeline.repaired == 1


def test_a_clock_set_back_is_followed() -> None:
    timeline = Timeline(PERIOD)
    assert times(100_000, 100_040, 5, 35, 75, timeline=timeline) == [0, 40, 80, 110, 150]
    assert timeline.repaired == 1


def test_a_repeated_time_moves_on_by_one_period() -> None:
    timeline = Timeline(PERIOD)
    assert times(0, 40, 40, 80, 120, timeline=timeline) == [0, 40, 80, 120, 160]
    assert timeline.repaired == 1


def test_a_new_session_goes_on_after_the_last_and_counts() -> None:
    timeline = Timeline(PERIOD)
    times(10, 50, timeline=timeline)
    timeline.begin()
    assert times(10, 50, timeline=timeline) == [80, 120]
    assert timeline.repaired == 1


def test_a_restarted_live_stream_goes_on_after_where_it_was() -> None:
    assert times(7_000, 7_033, timeline=Timeline(PERIOD, 1_000)) == [1_040, 1_073]


@given(st.lists(st.none() | st.integers(-(10**6), 10**6), min_size=1), st.integers(1, 1000))
def test_always_begins_at_zero_and_rises(pts: list[int | None], period: int) -> None:
    got = times(*pts, timeline=Timeline(period))
    assert got[0] == 0
    assert all(later > earlier for earlier, later in pairwise(got))


@given(st.lists(st.none() | st.integers(-(10**4), 10**4), min_size=1), st.integers(1, 1000))
def test_a_second_pass_is_the_first_one_later(pts: list[int | None], period: int) -> None:
    timeline = Timeline(period)
    first = times(*pts, timeline=timeline)
    timeline.begin()
    second = times(*pts, timeline=timeline)
    assert second == [time + first[-1] + period for time in first]
