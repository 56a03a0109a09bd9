"""A source of files that blocks in a read, as a network share that answers no more does, while plans change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from .conftest import in_order, levels, running, sums
from .test_deaths import Case, Death, two_plans
from .test_reload import xs

pytestmark = pytest.mark.usefixtures("operators", "deaths_are_forgiven")

FRAMES, BLOCKS = 40, 20
DEATHS: list[Case | None] = [None, ("source", "crossed", "unheard"), ("source", "passed", "own"), ("middle", "passed", "unheard"), None]


@pytest.mark.parametrize(
    ("cases", "beside", "link"),
    [
        pytest.param(DEATHS, True, "auto", id="with deaths"),
        pytest.param([None], False, "auto", id="in turn"),
        pytest.param([None], True, "zmq", id="zmq"),
    ],
)
def test_a_source_that_blocks_holds_up_no_change_of_plans(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: list[Case | None], beside: bool, link: Any
) -> None:  # fmt: skip
    """The plans change without a frame of it; once it answers again, every frame has come once, in order, whoever has died meanwhile."""
    monkeypatch.setattr("flow.switch.switching.SILENCE_S", 0.1)
    monkeypatch.setattr("flow.switch.switching.RESULTS_S", 0.1)
    answers = tmp_path / "answers"
    workers = "processes" if any(cases) else "threads"
    plans = two_plans(write, f"stamps:frames={FRAMES}&stalls={BLOCKS}&until={answers}", link=link, workers=workers)
    with running(plans[0]) as (run, reader):
        reader.wait_for("add.sum", BLOCKS)
        for number, case in enumerate(cases):
            run.stage(plans[(number + 1) % 2], beside=beside, timeout_s=60)
            with Death(run, case) if case is not None else nullcontext() as death:
                proof = run.switch(timeout_s=60)
            assert death is None or death.done
            assert (proof.last_old["camera"], proof.first_new["camera"], proof.lost) == (BLOCKS - 1, -1, 0), case
        answers.touch()
    for results in reader.results.values():
        in_order(results, FRAMES)
        assert [result.seq for last, result in pairwise(results) if last.plan != result.plan] == [BLOCKS]
    assert xs(reader.results["add.sum"]) == sums(levels(FRAMES))
    assert run.leaked_slots == 0
    assert run.failed is None
