"""Inference: a model's outputs for its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from devices.engine import Batching, EngineError, ModelInfo
from devices.spec import Spec, Specs, TensorsSpec
from ops.contract import Context, Operator, OperatorError, SpecError, port
from ops.value import Frame, Tensors


class Infer(Operator):
    """Runs the node's model. The transform of the input travels on, so that decoders know where its pixels lie in the source frame.

    Takes and gives tensors in the memory domain of the device it is placed on.
    """

    op = "nn.infer"
    inputs = {"tensors": port("tensors", doc="the model's inputs: names, dtypes and shapes as in its file")}
    outputs = {"tensors": port("tensors", doc="the model's outputs")}
    needs_model = True
    placement = frozenset({"device", "engine"})

    class Config(Operator.Config):
        """Where and how precisely the model is computed. `precision` changes results, so it is part of the address."""

        device: str = "auto"
        engine: str = "auto"
        precision: str = "auto"

    def __init__(self, config: Any = None, model: ModelInfo | None = None) -> None:
        super().__init__(config, model)
        self._given = TensorsSpec(model.outputs) if model else None

    def infer(self, specs: Specs) -> dict[str, Spec]:
        if self.model is None:
            raise SpecError(port="model", expected="a model", got="none", hint="set `model:` on this node")
        got, expected = specs["tensors"], TensorsSpec(self.model.inputs)
        if not isinstance(got, TensorsSpec):
            raise SpecError(port="tensors", expected=str(expected), got=str(got), hint="put image.tensor or a composite before it")
        if dict(got.tensors) != dict(expected.tensors):
            raise SpecError(port="tensors", expected=str(expected), got=str(got), hint=f"as {self.model.path.name} declares its inputs")
        self._given = TensorsSpec(self.model.outputs, got.domain)
        return {"tensors": self._given}

    def open(self, context: Context) -> None:
        super().open(context)
        assert self.model is not None
        self._session = context.session(self.model)
        self._together = bool(getattr(self._session, "batches", False))
        self._room = 0

    def run(self, frame: Frame, tensors: Tensors) -> Tensors:
        assert self._given is not None
        # Memory of its own for every value: the items of a list, and frames still on their way, outlive the session's next run.
        given = self.context.tensors("tensors", self._given)
        try:
            self._session.run(tensors.arrays, given.arrays)
        except EngineError as error:
            raise OperatorError(str(error)) from error
        given.transform = tensors.transform
        return given

    def batching(self) -> Batching | None:
        return self.model.batch if self.model is not None else None

    def run_many(self, frames: Sequence[Frame], inputs: Sequence[Mapping[str, Any]]) -> list[Tensors]:
        """Along the model's open first dimension; one after another when the model cannot do what its file says."""
        assert self.model is not None
        if not self._together:
            return [self.run(frame, **given) for frame, given in zip(frames, inputs, strict=True)]
        count = len(frames)
        taken, given = self._memory(count)
        for place, values in enumerate(inputs):
            for name, array in values["tensors"].arrays.items():
                taken[name][place] = array[0]
        try:
            self._session.run(taken, given)
        except EngineError as error:
            self._together = False
            raise OperatorError(str(error)) from error
        return [
            Tensors({name: array[place : place + 1] for name, array in given.items()}, values["tensors"].transform)
            for place, values in enumerate(inputs)
        ]

    def _memory(self, count: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Inputs and outputs of so many frames, used again for the next so many."""
        assert self.model is not None
        if count > self._room:
            self._room = count
            sides = self.model.inputs, self.model.outputs
            self._taken, self._made = ({name: np.empty((count, *spec.shape[1:]), spec.dtype) for name, spec in side} for side in sides)
        taken = {name: array[:count] for name, array in self._taken.items()}
        return taken, {name: array[:count] for name, array in self._made.items()}
