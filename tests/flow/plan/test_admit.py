from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.spec import ImageSpec
from flow.plan import make_plan
from manifests.errors import ManifestError

GRAPH = {"tracks": {"op": "t.track", "in": {"boxes": "boxes"}}, "boxes": {"op": "t.find", "in": {"image": "camera"}}}


def test_a_plan_that_does_not_fit_is_refused_with_both_numbers_and_what_takes_most(house: Any) -> None:
    probe = replace(house.probe, spec=ImageSpec(3840, 2160, "yuv420p"))
    plan = house.plan(house.use(GRAPH), probe=probe)
    needed = plan.shared_memory_bytes + plan.ram_bytes
    problem = house.problem(house.use(GRAPH), probe=probe, memory=needed - 1)
    assert str(needed) in problem.got
    assert str(needed - 1) in problem.expected
    assert "slots of" in problem.hint or "worker" in problem.hint
    assert house.plan(house.use(GRAPH), probe=probe, memory=needed) == plan


def test_the_refusal_names_the_least_important_businesses_without_which_the_plan_fits(house: Any, tmp_path: Path) -> None:
    def use(name: str, by: int, priority: int) -> Any:
        made = house.use({"small": {"op": "t.shrink", "in": {"image": "camera"}, "config": {"by": by}}}, name=name)
        return replace(made, business=made.business.model_copy(update={"priority": priority}))

    uses = [use("gesture", 2, 60), use("pen", 3, 10), use("pet", 4, 50)]
    probe = replace(house.probe, spec=ImageSpec(3840, 2160, "yuv420p"))

    def out(*uses: Any) -> Any:
        return {f"{each.business.name}.out": [str(tmp_path / f"{each.business.name}.mp4")] for each in uses}

    def needed(*uses: Any) -> int:
        plan = house.plan(*uses, probe=probe, out=out(*uses))
        return int(plan.shared_memory_bytes + plan.ram_bytes)

    def hint(memory: int) -> str:
        return str(house.problem(*uses, probe=probe, out=out(*uses), memory=memory).hint)

    gesture, _, pet = uses
    assert needed(*uses) > needed(gesture, pet) > needed(gesture)
    assert hint(needed(*uses) - 1).endswith("; without pen (priority 10) it would fit")
    assert hint(needed(gesture, pet) - 1).endswith("; without pen (priority 10) and pet (priority 50) it would fit")
    assert "it would fit" not in hint(needed(gesture) - 1)


def test_the_largest_part_is_named_first(house: Any) -> None:
    probe = replace(house.probe, spec=ImageSpec(16384, 16384, "bgra"))
    problem = house.problem(house.use(GRAPH), probe=probe, memory=1 << 30)
    assert problem.hint.startswith("most of it: 6 slots of 1073741824 bytes for front.image (image 16384x16384 bgra)")


def test_shared_memory_is_what_pools_and_edges_and_counters_take(house: Any) -> None:
    plan = house.plan(house.use(GRAPH))
    pools = sum(pool.slots * pool.slot_bytes for pool in plan.pools)
    edges = sum(edge.capacity * edge.payload for edge in plan.edges)
    assert pools + edges < plan.shared_memory_bytes < pools + edges + (3 << 20)


def test_a_model_counts_once_for_each_worker(house: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(bytes(1 << 20))
    models = {"m": house.model(path=str(path.relative_to("/")))}
    info = house.model(path=str(path))
    models = {"m": replace(info, path=path)} if hasattr(info, "path") else models
    graph = {"boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m"}}
    two, four = (house.plan(house.use(graph, models=models), cores=cores).ram_bytes for cores in (2, 4))
    assert four - two == 2 * ((60 << 20) + 2 * (1 << 20))
    threads = house.plan(house.use(graph, models=models), workers="threads").ram_bytes
    assert threads == (60 << 20) + 2 * 2 * (1 << 20)


def test_available_memory_is_asked_of_the_machine(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.plan.make.available_memory", lambda: 1000)
    with pytest.raises(ManifestError, match="1000 bytes"):
        make_plan(house.deployment(house.use(GRAPH)), probe=lambda *_: house.probe)
