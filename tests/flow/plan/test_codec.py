from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.plan.codec import PlanError, _plain, _value, decode_plan, encode_plan

CONFIGS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def whole(house: Any, **rest: Any) -> Any:
    graph = {
        "boxes": {"op": "t.detect", "in": {"image": "camera"}, "model": "m"},
        "crops": {"op": "t.crops", "in": {"image": "camera", "boxes": "boxes"}},
        "found": {"op": "t.find", "in": {"image": "crops"}, "config": {"names": ["a"], "inner": {"modes": ["x", "y"]}}},
        "all": {"op": "t.gather", "in": {"boxes": "found"}},
        "tracks": {"op": "t.track", "in": {"boxes": "boxes"}},
    }
    use = house.use(
        graph, {"all": "all", "tracks": "tracks"}, models={"m": house.model()}, goals={"latency_ms": 150}, set={"found.score": 0.25}
    )
    return house.plan(use, streams={"front": {"source": "x", "size": (4, 2), "fps": 5}}, **rest)


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_a_plan_comes_back_as_it_was(house: Any, cores: int) -> None:
    plan = whole(house, cores=cores)
    again = decode_plan(encode_plan(plan))
    assert again == plan
    assert again.streams[0].options == {"size": (4, 2), "fps": 5.0}
    assert isinstance(again.models[0].path, Path)
    assert encode_plan(again) == encode_plan(plan)


def test_text_is_taken_as_well_as_bytes(house: Any) -> None:
    plan = whole(house)
    assert decode_plan(encode_plan(plan).decode()) == plan


@given(CONFIGS)
def test_values_keep_their_types(value: Any) -> None:
    again = _value(json.loads(json.dumps(_plain(value))))
    assert repr(again) == repr(value)


@pytest.mark.parametrize(
    "data",
    ["", "[", "{}", "[]", "3", '{"@":"Plan"}', '{"@":"os.system","x":1}', '{"@":"Ref","address":"a","port":"b"}',
     '{"@":"Ref","adress":"a"}', '{"@":"path"}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_plan_is_refused(data: str) -> None:
    with pytest.raises(PlanError, match="a plan: expected"):
        decode_plan(data)


def test_what_a_plan_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="got object"):
        _plain({"x": object()})
