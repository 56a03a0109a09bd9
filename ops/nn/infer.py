"""Inference: a model's outputs for its inputs."""

from __future__ import annotations

from typing import Any

from devices.engine import EngineError, ModelInfo
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
