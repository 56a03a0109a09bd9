from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spec import RecordsSpec
from ops.classify.topk import TopK
from ops.contract import SpecError
from ops.testing import run
from ops.value import Tensors


def classes(scores: list[float], **config: Any) -> list[tuple[float, int]]:
    return run(TopK(TopK.Config(**config)), tensors=Tensors({"output": np.array([scores], np.float32)})).tolist()  # type: ignore[no-any-return]


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=12), st.integers(1, 12))
def test_the_best_come_first_and_softmax_adds_up(logits: list[float], k: int) -> None:
    found = classes(logits, k=k)
    assert len(found) == min(k, len(logits))
    assert [class_id for _, class_id in found] == sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:k]
    assert sum(score for score, _ in classes(logits, k=12)) == pytest.approx(1)


def test_scores_as_they_are() -> None:
    assert classes([0.25, 0.5, 0.125], softmax=False, k=2) == [(0.5, 1), (0.25, 0)]
    assert classes([0.25, 0.5, 0.125], softmax=False, score=0.25) == [(0.5, 1), (0.25, 0)]


def test_huge_logits_do_not_overflow() -> None:
    assert classes([10000.0, 0.0], k=1) == [(1.0, 0)]


def test_spec(make_model: Callable[..., Any], as_specs: Callable[..., Any]) -> None:
    operator = TopK(TopK.Config(k=9), make_model(labels=("a", "b", "c")))
    assert operator.infer(as_specs({"output": np.zeros((1, 3), np.float32)})) == {"classes": RecordsSpec("classes", 3, ("a", "b", "c"))}
    with pytest.raises(SpecError, match="expected 3 classes, as many as the model has labels, got 4"):
        operator.infer(as_specs({"output": np.zeros((1, 4), np.float32)}))


@pytest.mark.parametrize("array", [np.zeros((2, 3), np.float32), np.zeros((1, 3), np.int64), np.zeros((), np.float32)])
def test_other_outputs_are_refused(make_model: Callable[..., Any], as_specs: Callable[..., Any], array: np.ndarray) -> None:
    if array.ndim:
        with pytest.raises(SpecError, match="one score a class"):
            TopK(None, make_model()).infer(as_specs({"output": array}))
    with pytest.raises(SpecError, match="expected one tensor"):
        TopK(None, make_model()).infer(as_specs({"a": array, "b": array}))
