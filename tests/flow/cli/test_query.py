"""What `ace query` says of an update that does not fit beside what runs."""

from __future__ import annotations

from typing import Any

from flow.cli.query import interrupted


def step(state: str, revision: int = 4, **evidence: Any) -> dict[str, Any]:
    return {"state": state, "revision": revision, "evidence": evidence}


def test_the_gap_is_shown_before_and_after() -> None:
    declared = step("gate", beside=False, gap_s=1.26)
    before = "revision 4: does not fit beside what runs, which ends first: about 1.3 s without results"
    assert interrupted([declared, step("preload")]) == [before]
    done = step("probation", switch={"gap_ns": 410_000_000, "lost": 1})
    assert interrupted([step("committed"), done, declared]) == [before + "; it took 0.4 s, 1 frame lost"]


def test_of_other_updates_nothing_is_said() -> None:
    declared = step("gate", beside=False, gap_s=1.26)
    assert interrupted([]) == []
    assert interrupted([step("fetch", revision=5), declared]) == []
    assert interrupted([step("gate", beside=True, gap_s=0.0)]) == []


def test_what_a_device_says_is_not_believed() -> None:
    assert interrupted([step("gate", beside=False, gap_s="long")]) == []
    assert interrupted([step("probation", switch="odd"), step("gate", beside=False, gap_s=2)])[0].endswith("about 2.0 s without results")
