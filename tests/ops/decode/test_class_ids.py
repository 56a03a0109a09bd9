from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from devices.spec import RecordsSpec
from ops.contract import OperatorError, SpecError
from ops.decode.class_ids import ClassIds
from ops.testing import run
from ops.value import Tensors


@pytest.fixture(scope="module")
def class_ids(make_model: Callable[..., Any]) -> ClassIds:
    return ClassIds(None, make_model(labels=("Open", "Close", "Pointer")))


def test_ids_become_classes(class_ids: ClassIds) -> None:
    found = run(class_ids, tensors=Tensors({"class_ids": np.array([2, -1, 0])}))
    assert found.tolist() == [(1.0, 2), (1.0, 0)]


def test_an_id_without_a_label_is_an_error(class_ids: ClassIds) -> None:
    with pytest.raises(OperatorError, match="class id 3, but it has 3 labels"):
        run(class_ids, tensors=Tensors({"class_ids": np.array([3])}))


def test_spec(class_ids: ClassIds, as_specs: Callable[..., Any]) -> None:
    expected = RecordsSpec("classes", 1, ("Open", "Close", "Pointer"))
    assert class_ids.infer(as_specs({"class_ids": np.zeros(1, np.int64)})) == {"classes": expected}


@pytest.mark.parametrize("array", [np.zeros(1, np.float32), np.zeros((1, 3), np.int64)])
def test_other_outputs_are_refused(class_ids: ClassIds, as_specs: Callable[..., Any], array: np.ndarray) -> None:
    with pytest.raises(SpecError, match=r"`classify\.topk` takes scores of classes"):
        class_ids.infer(as_specs({"class_ids": array}))
