"""Golden clips: what passes, and what must not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.bundle.golden import Clip, compare, read_clip


def rows(count: int = 8) -> list[dict[str, Any]]:
    return [
        {
            "seq": seq,
            "detections": [
                {"box": [10.0 * seq, 20.0, 60.0, 80.0], "score": 0.9, "label": "cat", "class_id": 0, "track": 1},
                {"box": [200.0, 20.0, 260.0, 80.0], "score": 0.6, "label": "dog", "class_id": 1, "track": 2},
            ],
        }
        for seq in range(count)
    ]


def clip(exact: bool = True, **changes: Any) -> Clip:
    return Clip(frames={"camera": tuple(f"{number}.png" for number in range(8))}, results={"pets": tuple(rows())}, exact=exact, **changes)


def test_the_same_rows_pass_whatever_else_they_say() -> None:
    whole = [{"business": "pet", "stream": "other", "plan": "x", "latency_ms": 3.0, **row} for row in rows()]
    for exact in (True, False):
        assert compare(clip(), {"pets": whole}, exact=exact) == ()


def change(found: list[dict[str, Any]], key: str, value: Any) -> list[dict[str, Any]]:
    found = copy.deepcopy(found)
    for row in found:
        row["detections"][0][key] = value(row["detections"][0][key])
    return found


@pytest.mark.parametrize(
    ("key", "value", "exact", "passes"),
    [
        ("box", lambda box: [x + 0.1 for x in box], True, False),
        ("box", lambda box: [x + 0.1 for x in box], False, True),
        ("box", lambda box: [x + 5 for x in box], False, False),
        ("score", lambda score: score - 0.0001, True, False),
        ("score", lambda score: score - 0.02, False, True),
        ("score", lambda score: score - 0.2, False, False),
        ("label", lambda _: "dog", False, False),
        ("class_id", lambda _: 1, False, False),
        ("track", lambda track: track + 1, True, False),
        ("track", lambda track: track + 1, False, True),
    ],
)
def test_bit_equal_or_within_the_tolerance(key: str, value: Any, exact: bool, passes: bool) -> None:
    assert (compare(clip(), {"pets": change(rows(), key, value)}, exact=exact) == ()) is passes


def test_an_exact_replay_of_a_clip_that_was_not_is_compared_by_tolerance() -> None:
    got = {"pets": change(rows(), "score", lambda score: score - 0.01)}
    assert compare(clip(exact=False), got, exact=True) == ()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: [],
        lambda found: found[:-1],
        lambda found: [{**row, "detections": []} for row in found],
        lambda found: [{**row, "detections": row["detections"][:1]} for row in found],
        lambda found: [{**row, "detections": row["detections"] * 2} for row in found],
        lambda found: [{**row, "seq": row["seq"] + 1} for row in found],
        lambda found: [{"seq": row["seq"], "classes": row["detections"]} for row in found[::-1]],
    ],
)
@pytest.mark.parametrize("exact", [True, False])
def test_what_another_model_gives_fails(spoil: Any, exact: bool) -> None:
    assert compare(clip(), {"pets": spoil(rows())}, exact=exact)


def test_an_output_that_is_missing_fails() -> None:
    assert compare(clip(), {}, exact=False)


def test_a_clip_in_which_nothing_is_found_is_none() -> None:
    with pytest.raises(ValueError, match="something found"):
        Clip(frames={"camera": tuple("abcdefgh")}, results={"pets": tuple({"seq": seq, "detections": []} for seq in range(8))})


@given(st.permutations(range(2)))
def test_the_order_of_items_does_not_matter_within_a_tolerance(order: list[int]) -> None:
    got = [{**row, "detections": [row["detections"][place] for place in order]} for row in rows()]
    assert compare(clip(), {"pets": got}, exact=False) == ()


def test_written_and_read(tmp_path: Any) -> None:
    (tmp_path / "clip.json").write_bytes(clip().encoded())
    assert read_clip(tmp_path) == clip()
