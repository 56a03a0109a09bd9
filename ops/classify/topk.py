"""The best classes of a classifier."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from devices.spec import RecordsSpec, Spec, Specs
from ops.contract import Operator, SpecError, port
from ops.decode.common import Fraction, check_labels, only, tensors
from ops.value import Frame, Records, Tensors


class TopK(Operator):
    """Scores or logits of classes, floats (1, classes) or (classes,), to the `k` best, best first.

    Equal scores come in the order of their ids.
    """

    op = "classify.topk"
    inputs = {"tensors": port("tensors", doc="the only output of the model")}
    outputs = {"classes": port("classes", doc="best first")}
    needs_model = True

    class Config(Operator.Config):
        """`k`: how many classes. `softmax`: the model gives logits, which softmax makes probabilities. `score`: classes below are left
        out."""

        k: Annotated[int, Field(ge=1, le=1000)] = 5
        softmax: bool = True
        score: Fraction = 0.0

    def infer(self, specs: Specs) -> dict[str, Spec]:
        expected = "one score a class, float[1 x classes]"
        spec = only(tensors(specs["tensors"], "tensors"), expected)
        classes = max(spec.shape, default=0)
        if np.dtype(spec.dtype).kind != "f" or int(np.prod(spec.shape)) != classes or classes < 1:
            raise SpecError(port="tensors", expected=expected, got=str(spec))
        labels = self.model.labels if self.model else ()
        check_labels(classes, labels, str(spec))
        return {"classes": RecordsSpec("classes", min(self.config.k, classes), labels)}

    def run(self, frame: Frame, *, tensors: Tensors) -> Records:
        scores = next(iter(tensors.arrays.values())).reshape(-1).astype(np.float64)
        best = np.argsort(-scores, kind="stable")[: self.config.k]
        if self.config.softmax:
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = best[scores[best] >= self.config.score]
        classes = np.empty(len(best), RecordsSpec("classes", 1).dtype)
        classes["score"], classes["class_id"] = scores[best], best
        return classes
