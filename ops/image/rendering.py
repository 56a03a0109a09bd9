"""What the geometric operators share: where their pixels go (a picture, or the model's tensor at once) and the kernels prepared for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from devices.spec import ImageSpec, TensorsSpec
from ops.contract import Config, Context, OperatorError, port
from ops.value import Affine, Image, Tensors, compose, invert, rotation_transform

if TYPE_CHECKING:
    from devices.kernels.image import Pixels, Placement, Renderer

Side = Annotated[int, Field(ge=1, le=8192)]
Level = Annotated[float, Field(ge=0, le=255)]
Channels = Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]

OUTPUTS = {
    "image": port("image", doc="the picture, upright; absent where `tensor` is set", optional=True),
    "tensors": port("tensors", doc="the model's input; only where `tensor` is set", optional=True),
}
PREPARED = 8
"""Kernels kept by one operator: sources whose size changes now and then do not prepare again and again."""


class TensorConfig(Config):
    """The tensor to make: value = (pixel - mean) / std per channel, channels in the order of `format`."""

    name: str
    format: Literal["rgb24", "bgr24", "gray8"] = "rgb24"
    mean: Channels = (0.0,)
    std: Channels = (1.0,)
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "uint8"] = "float32"

    @model_validator(mode="after")
    def _fits(self) -> TensorConfig:
        channels = 1 if self.format == "gray8" else 3
        for key, value in (("mean", self.mean), ("std", self.std)):
            if len(value) not in (1, channels):
                raise ValueError(f"{key}: expected 1 or {channels} numbers for {self.format}, got {len(value)}")
        if 0.0 in self.std:
            raise ValueError("std: expected numbers other than 0")
        if self.dtype == "uint8" and (any(self.mean) or set(self.std) != {1.0}):
            raise ValueError("a uint8 tensor carries plain levels: expected mean 0 and std 1; use dtype float32 to normalise")
        return self


class RenderingConfig(Config):
    """`tensor`: give the model's input instead of a picture. `output`: format of the picture."""

    output: Literal["bgr24", "rgb24", "gray8"] = "bgr24"
    tensor: TensorConfig | None = None


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the pixels of an output of `size` (width, height) come from: `matrix` maps them to the picture as shown (upright)."""

    size: tuple[int, int]
    matrix: Affine
    placement: Placement | None = None


@dataclass(slots=True)
class _Prepared:
    """A kernel for one source spec. `to_stored` maps output pixels to stored ones; `seen` and `transform` belong to the last picture."""

    renderer: Renderer
    output: ImageSpec | TensorsSpec
    to_stored: Affine | None
    seen: bytes = b""
    transform: Affine | None = None


class Rendering:
    """Renders pictures of any spec into one kind of output; rotation metadata is applied here."""

    def __init__(self, config: RenderingConfig) -> None:
        self.config = config
        self._prepared: OrderedDict[ImageSpec, _Prepared] = OrderedDict()

    @property
    def port(self) -> str:
        """The output port in use."""
        return "image" if self.config.tensor is None else "tensors"

    def spec(self, size: tuple[int, int]) -> ImageSpec | TensorsSpec:
        """The spec of an output of this size."""
        tensor = self.config.tensor
        if tensor is None:
            return ImageSpec(*size, self.config.output)
        return TensorsSpec(((tensor.name, self._pixels(size).spec),))

    def still(self, context: Context, image: Image, geometry: Callable[[ImageSpec], Geometry]) -> Mapping[str, Image | Tensors]:
        """Renders with geometry that depends on the spec of `image` alone."""
        prepared = self._find(image.spec)
        if prepared is None:
            chosen = geometry(image.spec)
            to_stored = compose(invert(rotation_transform(image.spec)), chosen.matrix)
            prepared = self._prepare(image.spec, chosen.size, chosen.placement, to_stored)
        seen = image.transform.tobytes()
        if prepared.seen != seen or prepared.transform is None:
            assert prepared.to_stored is not None
            prepared.seen, prepared.transform = seen, compose(image.transform, prepared.to_stored)
            prepared.transform.setflags(write=False)
        return self._emit(context, image, prepared, prepared.transform, None, 0)

    def moving(
        self, context: Context, image: Image, size: tuple[int, int], to_source: Affine, placement: Placement | None, index: int,
    ) -> Mapping[str, Image | Tensors]:  # fmt: skip
        """Renders item `index` with geometry of its own: `to_source` maps output pixels to the upright source frame."""
        prepared = self._find(image.spec) or self._prepare(image.spec, size, placement, None)
        try:
            to_stored = compose(invert(image.transform), to_source)
        except np.linalg.LinAlgError:
            raise OperatorError(f"expected a picture whose transform can be inverted, got {image.transform.tolist()}") from None
        return self._emit(context, image, prepared, to_source, to_stored, index)

    def _emit(
        self, context: Context, image: Image, prepared: _Prepared, transform: Affine, matrix: Affine | None, index: int,
    ) -> Mapping[str, Image | Tensors]:  # fmt: skip
        if isinstance(prepared.output, ImageSpec):
            picture = context.image("image", prepared.output, index)
            prepared.renderer(image.planes, picture.planes, matrix)
            picture.transform = transform
            return {"image": picture}
        tensors = context.tensors("tensors", prepared.output, index)
        prepared.renderer(image.planes, tuple(tensors.arrays.values()), matrix)
        tensors.transform = transform
        return {"tensors": tensors}

    def _find(self, spec: ImageSpec) -> _Prepared | None:
        prepared = self._prepared.get(spec)
        if prepared is not None:
            self._prepared.move_to_end(spec)
        return prepared

    def _prepare(self, spec: ImageSpec, size: tuple[int, int], placement: Placement | None, to_stored: Affine | None) -> _Prepared:
        from devices.kernels.image import Renderer

        output = self.spec(size)
        target = output if isinstance(output, ImageSpec) else self._pixels(size)
        renderer = Renderer(spec, target, to_stored, placement, moving=to_stored is None)
        prepared = self._prepared[spec] = _Prepared(renderer, output, to_stored)
        if len(self._prepared) > PREPARED:
            self._prepared.popitem(last=False)
        return prepared

    def _pixels(self, size: tuple[int, int]) -> Pixels:
        from devices.kernels.image import Pixels

        tensor = self.config.tensor
        assert tensor is not None
        return Pixels(*size, tensor.format, tensor.mean, tensor.std, tensor.layout, tensor.dtype)
