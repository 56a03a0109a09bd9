"""Moving pictures and tensors between memory domains."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from devices import registry
from devices.engine import EngineError
from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, Specs, TensorSpec, TensorsSpec, in_domain
from ops.contract import Context, Operator, OperatorError, SpecError, port
from ops.value import Frame, Image, Tensors

Domain = Annotated[str, Field(min_length=1, max_length=64)]


class Transfer(Operator):
    """Copies a value from `cpu` memory into a device's own, or back. The plan inserts it where two ends of an edge differ in domain.

    It runs on the side of the device that is not `cpu`; between two such devices the plan puts two of them, with `cpu` in the middle.
    """

    op = "memory.transfer"
    inputs = {"value": port("image", "tensors", doc="in `cpu` memory, or in that of the device")}
    outputs = {"value": port("image", "tensors", doc="the same value in the domain `to`")}

    class Config(Operator.Config):
        """`to`: the memory domain wanted. `source`: the one it comes from; `auto` is that of the input."""

        to: Domain
        source: Domain = "auto"

    def __init__(self, config: Any = None, model: Any = None) -> None:
        super().__init__(config, model)
        self._source = self.config.source
        if self._source == "auto" and self.config.to != "cpu":
            self._source = "cpu"

    def infer(self, specs: Specs) -> dict[str, Spec]:
        spec, to = specs["value"], self.config.to
        if isinstance(spec, RecordsSpec | ManySpec):
            raise SpecError(port="value", expected="an image or tensors", got=str(spec), hint="records always lie in cpu memory")
        if self.config.source not in ("auto", spec.domain):
            raise SpecError(port="value", expected=f"a value in {self.config.source}", got=str(spec))
        if spec.domain == to or "cpu" not in (spec.domain, to):
            raise SpecError(
                port="value", expected=f"a value in {'another domain than ' if to == 'cpu' else ''}cpu", got=str(spec),
                hint=f"to {to} there is one step, from cpu" if to != "cpu" else "it is there already",
            )  # fmt: skip
        try:
            registry.device_of(spec.domain if to == "cpu" else to)
        except EngineError as error:
            raise SpecError(port="value", expected="a known memory domain", got=to, hint=str(error)) from error
        self._source = spec.domain
        return {"value": in_domain(spec, to)}

    def open(self, context: Context) -> None:
        super().open(context)
        if self._source == "auto":
            raise OperatorError("memory.transfer: expected `source` for a transfer to cpu, got none; it names the domain to read from")
        down = self.config.to == "cpu"
        device = registry.device_of(self._source if down else self.config.to)
        self._copy = device.download if down else device.upload

    def run(self, frame: Frame, value: Image | Tensors) -> Image | Tensors:
        if isinstance(value, Image):
            spec = in_domain(value.spec, self.config.to)
            assert isinstance(spec, ImageSpec)
            image = self.context.image("value", spec)
            for source, target in zip(value.planes, image.planes, strict=True):
                self._copy(source, target)
            image.transform = value.transform
            return image
        shapes = tuple((name, TensorSpec(array.dtype.name, array.shape)) for name, array in value.arrays.items())
        tensors = self.context.tensors("value", TensorsSpec(shapes, self.config.to))
        for name, array in value.arrays.items():
            self._copy(array, tensors.arrays[name])
        tensors.transform = value.transform
        return tensors
