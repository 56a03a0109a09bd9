from __future__ import annotations

import sys

from flow.worker import turns
from flow.worker.turns import short_turns


def test_turns_are_short_inside_and_what_they_were_outside() -> None:
    before = sys.getswitchinterval()
    with short_turns():
        assert sys.getswitchinterval() == min(before, turns.SWITCH_S) < 0.005
    assert sys.getswitchinterval() == before


def test_runs_that_overlap_share_it_and_the_last_puts_back_what_was() -> None:
    before = sys.getswitchinterval()
    first, second = short_turns(), short_turns()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == turns.SWITCH_S
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == before


def test_shorter_turns_of_the_program_s_own_stay() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(turns.SWITCH_S / 2)
    try:
        own = sys.getswitchinterval()
        with short_turns():
            assert sys.getswitchinterval() == own
        assert sys.getswitchinterval() == own
    finally:
        sys.setswitchinterval(before)
