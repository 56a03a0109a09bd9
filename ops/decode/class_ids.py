"""Models that answer with a class id."""

from __future__ import annotations

import numpy as np

from devices.spec import RecordsSpec, Spec, Specs
from ops.contract import Operator, OperatorError, SpecError, port
from ops.decode.common import only, tensors
from ops.value import Frame, Records, Tensors


class ClassIds(Operator):
    """The class ids that a model gives, integers (n,), to classes of score 1. An id below 0 stands for no class.

    Raises OperatorError for an id beyond the model's labels.
    """

    op = "decode.class_ids"
    inputs = {"tensors": port("tensors", doc="the only output of the model")}
    outputs = {"classes": port("classes")}
    needs_model = True

    def infer(self, specs: Specs) -> dict[str, Spec]:
        expected = "integer class ids, one dimension"
        spec = only(tensors(specs["tensors"], "tensors"), expected)
        if np.dtype(spec.dtype).kind not in "iu" or len(spec.shape) != 1:
            raise SpecError(port="tensors", expected=expected, got=str(spec), hint="`classify.topk` takes scores of classes")
        return {"classes": RecordsSpec("classes", max(spec.shape[0], 1), self._labels)}

    @property
    def _labels(self) -> tuple[str, ...]:
        return self.model.labels if self.model else ()

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        ids = next(iter(tensors.arrays.values()))
        ids = ids[ids >= 0]
        if self._labels and len(ids) and ids.max() >= len(self._labels):
            raise OperatorError(
                f"the model gave class id {ids.max()}, but it has {len(self._labels)} labels; check `labels` in its manifest"
            )
        classes = np.empty(len(ids), RecordsSpec("classes", 1).dtype)
        classes["score"], classes["class_id"] = 1.0, ids
        return classes
