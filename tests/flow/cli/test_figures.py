from __future__ import annotations

from typing import Any

import pytest

from flow.cli.figures import Rates, line, summary, total


def report(**changes: Any) -> dict[str, Any]:
    quiet: dict[str, Any] = {
        "streams": {"front": {"in": 12, "out": 12, "dropped": {}}},
        "nodes": {
            "a1": {"op": "boxes.nms", "names": ["pet.boxes"], "businesses": ["pet"], "runs": 12, "calls": 12, "errors": 0, "busy_ms": 3.0}
        },
        "outputs": {"pet": {"pets": {"results": 12, "latency_ms": {"p50": 31.25, "p99": 45.0, "max": 60.0}}}},
        "state_resets": 0,
        "poison": [],
        "workers": [{"pid": 1, "device": "cpu", "restarts": 0}],
        "shared_memory_bytes": 12_000_000,
        "cpu_seconds": 1.5,
        "wall_seconds": 2.5,
        "running_seconds": 2.0,
        "plan": "9f2c" * 16,
    }
    return quiet | changes


def test_a_quiet_run_is_three_lines() -> None:
    assert summary(report(), {"pet.pets": "10 a second, 50 ms"}) == [
        "front: 12 frames read, none dropped",
        "pet.pets: 12 results, 6.0 a second, latency 31.2 ms median, 45.0 ms p99, 60.0 ms at most (goal: 10 a second, 50 ms)",
        "2.5 s, 1.5 s of processor time, 12.0 MB of shared memory, plan 9f2c9f2c9f2c",
    ]


def test_drops_are_told_with_place_and_cause() -> None:
    dropped = {"front": {"latest": 3}, "pet.boxes": {"error": 1, "poison": 1}}
    assert summary(report(streams={"front": {"in": 12, "out": 7, "dropped": dropped}}), {})[0] == (
        "front: 12 frames read; dropped: at the source 3 (latest); pet.boxes 1 (error), 1 (poison)"
    )


def test_what_was_wrong_with_a_source_is_told() -> None:
    stream = {"in": 12, "out": 12, "dropped": {}, "corrupt": 1, "repaired": 0, "reconnects": 2}
    assert summary(report(streams={"front": stream}), {})[0] == "front: 12 frames read, none dropped; 1 damaged picture, 2 reconnects"


def test_faults_are_told() -> None:
    faulty = report(
        poison=[{"seq": 3}, {"seq": 4}], state_resets=1, workers=[{"pid": 1, "device": "cpu", "restarts": 3}],
        nodes={"a1": {"op": "boxes.nms", "names": ["pet.boxes", "dog.boxes"], "errors": 1}},
    )  # fmt: skip
    assert summary(faulty, {})[2:6] == ["pet.boxes, dog.boxes: 1 error", "2 poison frames", "1 state reset", "3 restarts of workers"]


def test_no_result_has_no_latency() -> None:
    empty = {"pet": {"pets": {"results": 0, "latency_ms": {"p50": None, "p99": None, "max": None}}}}
    assert "pet.pets: 0 results" in summary(report(outputs=empty), {})


def counted(seconds: float, frames: int) -> dict[str, Any]:
    return report(wall_seconds=seconds, streams={"front": {"in": frames, "out": frames - 10, "dropped": {}}})


def test_one_look_gives_no_rate() -> None:
    rates = Rates()
    rates.look(report())
    assert rates.of_stream("front", "in") == rates.of_output("pet", "pets") == 0.0


def test_rates_are_those_of_the_last_two_seconds() -> None:
    rates = Rates()
    for seconds, frames in ((0.0, 10), (1.0, 10), (2.0, 35), (3.0, 60)):
        rates.look(counted(seconds, frames))
    assert rates.of_stream("front", "in") == pytest.approx(25.0)
    assert rates.of_stream("front", "out") == pytest.approx(25.0)


def test_the_live_line_names_streams_and_outputs() -> None:
    assert line(report(), Rates()) == "front 0.0 frames a second  pet.pets 12 results (31.2 ms)"


def test_total_adds_all_levels() -> None:
    assert total({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == 6
    assert total(4) == 4
