from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ops import catalog


def boxes(op: str = "t.find", **config: Any) -> dict[str, Any]:
    return {"boxes": {"op": op, "in": {"image": "camera"}, "config": config}}


def detect(score: float = 0.5, **config: Any) -> dict[str, Any]:
    return {"boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m", "config": {"score": score, **config}}}


def addresses(plan: Any) -> list[str]:
    return [node.address for node in plan.nodes]


def test_equal_work_of_two_businesses_is_one_node(house: Any) -> None:
    plan = house.plan(house.use(boxes(score=0.5)), house.use({"finder": boxes()["boxes"]}, name="other"))
    (node,) = plan.nodes
    assert node.names == ("pet.boxes", "other.finder")
    assert node.businesses == ("pet", "other")
    assert len(node.where) == 2
    assert len(plan.sinks) == 2


def test_defaults_written_out_are_the_same_setting(house: Any) -> None:
    assert len(house.plan(house.use(boxes()), house.use(boxes(score=0.5, names=[]), name="other")).nodes) == 1


def test_the_order_of_a_set_is_no_difference(house: Any) -> None:
    plan = house.plan(house.use(boxes(names=["a", "b"])), house.use(boxes(names=["b", "a"]), name="other"))
    assert len(plan.nodes) == 1


@pytest.mark.parametrize("config", [{"score": 0.6}, {"names": ["a"]}, {"inner": {}}])
def test_other_settings_are_other_work(house: Any, config: dict[str, Any]) -> None:
    assert len(house.plan(house.use(boxes()), house.use(boxes(**config), name="other")).nodes) == 2


def test_thresholds_part_after_the_inference(house: Any) -> None:
    models = {"m": house.model()}
    plan = house.plan(house.use(detect(0.3), models=models), house.use(detect(0.6), name="other", models=models))
    assert [node.op for node in plan.nodes].count("t.infer") == 1
    assert [node.op for node in plan.nodes].count("t.prepare") == 1
    assert [node.op for node in plan.nodes].count("t.decode") == 2


def test_names_and_labels_of_a_model_matter_only_where_they_are_read(house: Any) -> None:
    one, other = {"m": house.model("one", labels=("cat",))}, {"m": house.model("other", labels=("dog",))}
    plan = house.plan(house.use(detect(), models=one), house.use(detect(), name="other", models=other))
    assert [node.op for node in plan.nodes].count("t.infer") == 1
    decoders = [node for node in plan.nodes if node.op == "t.decode"]
    assert [plan.model(node).labels for node in decoders] == [("cat",), ("dog",)]


def test_another_model_file_is_other_work(house: Any) -> None:
    one, other = {"m": house.model(digest="d1")}, {"m": house.model(digest="d2")}
    plan = house.plan(house.use(detect(), models=one), house.use(detect(), name="other", models=other))
    assert [node.op for node in plan.nodes].count("t.infer") == 2
    assert [node.op for node in plan.nodes].count("t.prepare") == 1


def test_state_is_shared_between_equals_and_chance_never(house: Any) -> None:
    def graph(op: str) -> dict[str, Any]:
        return {**boxes(), "after": {"op": op, "in": {"boxes": "boxes"}}}

    def count(op: str) -> int:
        plan = house.plan(house.use(graph(op)), house.use(graph(op), name="other"))
        return [node.op for node in plan.nodes].count(op)

    assert count("t.track") == 1
    assert count("t.noise") == 2


def test_two_streams_of_one_source_are_two_streams(house: Any) -> None:
    streams = {"a": {"source": "/clip.mp4"}, "b": {"source": "/clip.mp4"}}
    plan = house.plan(house.use(boxes(), bind={"camera": "a"}), house.use(boxes(), name="other", bind={"camera": "b"}), streams=streams)
    assert len(plan.streams) == len(plan.nodes) == 2


def test_where_a_source_lies_is_no_part_of_an_address(house: Any) -> None:
    one = house.plan(house.use(boxes()), streams={"front": {"source": "/here.mp4"}})
    other = house.plan(house.use(boxes()), streams={"front": {"source": "/there.mp4"}})
    assert addresses(one) == addresses(other)
    assert one.digest == other.digest


def test_other_code_is_other_work(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = house.plan(house.use(boxes()))
    monkeypatch.setattr(catalog, "code_digest", lambda kind: "changed")
    after = house.plan(house.use(boxes()))
    assert addresses(before) != addresses(after)
    assert before.digest != after.digest


def test_a_changed_node_changes_what_comes_after_it_and_nothing_else(house: Any) -> None:
    def graph(score: float) -> dict[str, Any]:
        return {"small": {"op": "t.shrink", "in": {"image": "camera"}}, "boxes": {**boxes(score=score)["boxes"], "in": {"image": "small"}},
                "tracks": {"op": "t.track", "in": {"boxes": "boxes"}}}  # fmt: skip

    one, other = house.plan(house.use(graph(0.5))), house.plan(house.use(graph(0.6)))
    assert [a == b for a, b in zip(addresses(one), addresses(other), strict=True)] == [True, False, False]


def test_an_address_does_not_depend_on_where_work_is_done(house: Any) -> None:
    models = {"m": house.model()}
    here, there = (house.plan(house.use(detect(device=device), models=models)) for device in ("cpu", "npu"))
    infer = [next(node for node in plan.nodes if node.op == "t.infer") for plan in (here, there)]
    assert infer[0].address == infer[1].address
    assert [node.device for node in infer] == ["cpu", "npu"]
    assert here.digest != there.digest


def test_shared_work_goes_where_all_of_them_can_go(house: Any) -> None:
    models = {"m": house.model()}
    plan = house.plan(house.use(detect(), models=models), house.use(detect(device="npu"), name="other", models=models))
    (infer,) = (node for node in plan.nodes if node.op == "t.infer")
    assert infer.device == "npu"
    assert infer.businesses == ("pet", "other")


def test_work_that_cannot_be_done_in_one_place_stays_apart(house: Any) -> None:
    models = {"m": house.model()}
    plan = house.plan(house.use(detect(device="cpu"), models=models), house.use(detect(device="npu"), name="other", models=models))
    infer = [node for node in plan.nodes if node.op == "t.infer"]
    assert [node.device for node in infer] == ["cpu", "npu"]
    assert len({node.address for node in plan.nodes}) == len(plan.nodes)
    assert [node.op for node in plan.nodes].count("t.decode") == 2


def test_shared_work_fails_as_mildly_as_any_of_them_asks_and_is_as_patient(house: Any) -> None:
    hasty = {"boxes": {**boxes()["boxes"], "deadline_ms": 50}}
    patient = {"boxes": {**boxes()["boxes"], "deadline_ms": 70}}
    plan = house.plan(house.use(hasty, on_error="stop"), house.use(patient, name="other", on_error="skip"))
    assert plan.nodes[0].on_error == "skip"
    assert plan.nodes[0].deadline_ms == 70
    assert house.plan(house.use(boxes())).nodes[0].deadline_ms == 10_000


def test_the_picture_itself_is_no_part_of_a_node_but_of_the_plan(house: Any) -> None:
    probe = house.probe
    one = house.plan(house.use(boxes()))
    other = house.plan(house.use(boxes()), probe=replace(probe, spec=replace(probe.spec, width=128)))
    assert addresses(one) == addresses(other)
    assert one.digest != other.digest
