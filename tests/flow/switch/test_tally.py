"""Results of what runs and of what is tried: compared where both are of the same frames, counted by the cause where they are not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flow.switch.tally import MOST_WAITING, RUNS, TRIED, Tally


def row(seq: int, *, x: float = 0.0, met: dict[str, int] | None = None) -> dict[str, Any]:
    """A result of frame `seq` of the stream `front`; `met`: what it met of others."""
    inputs = [{"stream": "front", "seq": seq}, *({"stream": stream, "seq": other} for stream, other in (met or {}).items())]
    return {"seq": seq, "latency_ms": 10.0, "points": [{"point": [x, 0.0], "score": 1.0}], **({"inputs": inputs} if met else {})}


def test_results_of_the_same_frame_are_compared_whichever_comes_first() -> None:
    tally = Tally()
    for seq, x in enumerate((0.0, 5.0, 100.0)):
        for side in (RUNS, TRIED) if seq % 2 else (TRIED, RUNS):
            tally.take(side, row(seq, x=x if side == TRIED else 0.0))
    told = tally.compared()
    assert (told.frames, told.agreement, told.missed) == (3, 0.6667, {})
    assert (told.latency_ms["p50"], told.trial_latency_ms["p50"]) == (told.trial_latency_ms["p50"], told.latency_ms["p50"])


def test_what_joined_other_frames_is_not_compared() -> None:
    tally = Tally()
    for seq, met in enumerate(({"side": 3}, {"side": 2}, {"side": 3, "rear": 1})):
        tally.take(RUNS, row(seq, met={"rear": 1, "side": 3}))
        tally.take(TRIED, row(seq, met=met))
    assert tally.compared().missed == {"inputs": 2}
    assert tally.compared().frames == 1


def test_a_result_of_one_alone_is_counted_once_the_other_is_past_it() -> None:
    tally = Tally()
    for seq in (0, 1, 2):
        tally.take(RUNS, row(seq))
    assert tally.compared().missed == {}, "the candidate may only be slow"
    tally.take(TRIED, row(2))
    tally.take(TRIED, row(3))
    tally.take(RUNS, row(4))
    assert tally.compared().missed == {"only_runs": 2, "only_tried": 1}
    tally.take(TRIED, row(1))
    assert tally.compared().frames == 1, "a row that is told a second time says nothing"
    tally.finish()
    assert tally.compared().missed == {"only_runs": 2, "only_tried": 1, "unfinished": 1}


def test_one_that_never_answers_costs_no_memory() -> None:
    tally = Tally()
    for seq in range(3 * MOST_WAITING):
        tally.take(RUNS, row(seq))
    tally.finish()
    assert tally.compared().missed == {"only_runs": 2 * MOST_WAITING, "unfinished": MOST_WAITING}


@given(st.lists(st.tuples(st.sampled_from((RUNS, TRIED)), st.integers(1, 3), st.booleans())))
def test_every_result_is_accounted_for(steps: list[tuple[int, int, bool]]) -> None:
    tally, seqs = Tally(), [0, 0]
    for side, further, other in steps:
        seqs[side] += further
        tally.take(side, row(seqs[side], met={"side": int(other)}))
    tally.finish()
    told = tally.compared()
    both = told.frames + told.missed.get("inputs", 0)
    assert 2 * both + sum(count for cause, count in told.missed.items() if cause != "inputs") == len(steps)
