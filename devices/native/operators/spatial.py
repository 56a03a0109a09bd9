"""Operators over an image's neighbourhoods: convolution, transposed convolution, pooling, resize.

Sizes are given per spatial axis, pads as (before..., after...). The layout is that of the input's type. Weights are
(out, in / group, kernel...) in nchw and (out, kernel..., in / group) in nhwc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from devices.native.ir import GraphError, Op, Type
from devices.native.operators.elementwise import Unary

Mode = Literal["nearest", "linear", "cubic"]
Coordinates = Literal["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric", "tf_half_pixel_for_nn"]
Rounding = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]

MAX_EXTENT = 2**24
"""Largest stride, pad, dilation or size along an axis; keeps arithmetic on them far from overflow."""
MAX_TAPS = 2**16


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves over the spatial axes."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def __post_init__(self) -> None:
        rank = len(self.kernel)
        if not 1 <= rank <= 3 or (len(self.strides), len(self.pads), len(self.dilations)) != (rank, 2 * rank, rank):
            raise GraphError(
                f"expected a kernel of 1 to 3 axes with a stride, a dilation and two pads each, got kernel {list(self.kernel)}, "
                f"strides {list(self.strides)}, pads {list(self.pads)}, dilations {list(self.dilations)}"
            )
        if min(*self.kernel, *self.strides, *self.dilations) < 1 or min(self.pads) < 0:
            raise GraphError(
                f"expected kernel, strides and dilations of at least 1 and pads of at least 0, got kernel {list(self.kernel)}, "
                f"strides {list(self.strides)}, pads {list(self.pads)}, dilations {list(self.dilations)}"
            )
        if max(*self.kernel, *self.strides, *self.pads, *self.dilations) > MAX_EXTENT or prod(self.kernel) > MAX_TAPS:
            raise GraphError(f"expected at most {MAX_TAPS} kernel elements and strides, pads and dilations up to {MAX_EXTENT}, got {self}")

    @property
    def extent(self) -> tuple[int, ...]:
        """Input positions that the kernel spans."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))

    def padded(self, spatial: Sequence[int]) -> tuple[int, ...]:
        rank = len(self.kernel)
        return tuple(size + self.pads[axis] + self.pads[axis + rank] for axis, size in enumerate(spatial[:rank]))

    def sizes(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output sizes. Raises GraphError where the kernel does not fit the padded input."""
        rank = len(self.kernel)
        found = tuple(
            (size - extent) // step + 1 for size, extent, step in zip(self.padded(spatial), self.extent, self.strides, strict=False)
        )
        if len(spatial) != rank or min(found, default=0) < 1:
            raise GraphError(f"expected a {rank}-dimensional input that the window {self} fits, got sizes {list(spatial)}")
        return found


@dataclass(frozen=True, slots=True)
class Conv(Op):
    """Inputs x, weight, bias, and with `residual` a fourth of the output's type that is added before the activation."""

    window: Window
    group: int = 1
    activation: Unary | None = None
    residual: bool = False

    def infer(self, *inputs: Type) -> Type:
        x, weight, bias = inputs[:3]
        need_floats("conv", *inputs)
        out = convolved("conv", self.window, self.group, x, weight, bias)
        if self.residual and (len(inputs) != 4 or inputs[3] != out):
            raise GraphError(f"conv: expected a residual of {out}, got {', '.join(map(str, inputs[3:])) or 'none'}")
        if not self.residual and len(inputs) != 3:
            raise GraphError(f"conv: expected 3 inputs, got {len(inputs)}")
        return out


@dataclass(frozen=True, slots=True)
class ConvTranspose(Op):
    """Inputs x, weight, bias. Output size = stride * (size - 1) + extent + extra - pads. The weight is (in, out / group, kernel...) in both
    layouts."""

    window: Window
    extra: tuple[int, ...]
    group: int = 1
    activation: Unary | None = None

    def infer(self, *inputs: Type) -> Type:
        x, weight, bias = inputs
        need_floats("transposed conv", *inputs)
        rank = len(self.window.kernel)
        if x.rank != rank + 2 or weight.rank != rank + 2 or len(self.extra) != rank or min(self.extra) < 0:
            raise GraphError(f"transposed conv: expected an input and a weight of rank {rank + 2}, got {x} and {weight}")
        if x.channels != weight.shape[0] or self.group < 1 or x.channels % self.group or weight.shape[2:] != self.window.kernel:
            raise GraphError(f"transposed conv: expected a weight for {x.channels} channels in {self.group} groups, got {weight}")
        out = weight.shape[1] * self.group
        if bias.shape != (out,):
            raise GraphError(f"transposed conv: expected a bias of {out} values, got {bias}")
        x.image(out, [size + pad for size, pad in zip(self.sizes(x.spatial), self.window.padded([0] * rank), strict=True)])
        return x.image(out, self.sizes(x.spatial))

    def sizes(self, spatial: Sequence[int]) -> tuple[int, ...]:
        rank, window = len(self.window.kernel), self.window
        sizes = tuple(
            window.strides[i] * (size - 1) + window.extent[i] + self.extra[i] - window.pads[i] - window.pads[i + rank]
            for i, size in enumerate(spatial)
        )
        if min(sizes) < 1:
            raise GraphError(f"transposed conv: expected an output of at least 1 along each axis, got {list(sizes)}")
        return sizes


@dataclass(frozen=True, slots=True)
class MaxPool(Op):
    """The largest value under the window; padding is below every value. Keeps quantization."""

    window: Window

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        out = pooled("max pool", self.window, x)
        return replace(out, quantization=x.quantization)


@dataclass(frozen=True, slots=True)
class AveragePool(Op):
    """The mean under the window: over its positions in the input, or with `padding_counts` also over those in the padding. The last
    `overhang` pads of each axis never count (they come of rounding the output size up)."""

    window: Window
    padding_counts: bool = False
    overhang: tuple[int, ...] = ()

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        need_floats("average pool", x)
        return pooled("average pool", self.window, x)


@dataclass(frozen=True, slots=True)
class Resize(Op):
    """Interpolation along some axes, each by itself, as ONNX Resize defines it (output coordinate -> input coordinate by `coordinates`,
    where the output size counts as scale * input size, before it is rounded).

    `cubic` uses the coefficient `cubic_a`; `exclude_outside` gives samples beyond the border no weight. Nearest keeps quantization.
    """

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    scales: tuple[float, ...]
    mode: Mode = "nearest"
    coordinates: Coordinates = "half_pixel"
    rounding: Rounding = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False

    def infer(self, *inputs: Type) -> Type:
        (x,) = inputs
        if not len(self.axes) == len(self.sizes) == len(self.scales) or len(set(self.axes)) != len(self.axes):
            raise GraphError(f"resize: expected a size and a scale for each axis, got {self}")
        if any(not 0 <= axis < x.rank for axis in self.axes) or any(not 1 <= size <= MAX_EXTENT for size in self.sizes):
            raise GraphError(f"resize: expected axes of {x} and sizes from 1 to {MAX_EXTENT}, got axes {self.axes}, sizes {self.sizes}")
        if any(not 0 < scale < float("inf") for scale in self.scales):
            raise GraphError(f"resize: expected scales that are finite and above 0, got {self.scales}")
        if any(x.shape[axis] < 1 for axis in self.axes):
            raise GraphError(f"resize: expected an input of at least 1 along each axis, got {x}")
        if self.mode != "nearest":
            need_floats("resize", x)
        shape = list(x.shape)
        for axis, size in zip(self.axes, self.sizes, strict=True):
            shape[axis] = size
        return x.shaped(shape)

    def moved(self, perm: tuple[int, ...]) -> Op:
        return replace(self, axes=tuple(perm.index(axis) for axis in self.axes))


def convolved(what: str, window: Window, group: int, x: Type, weight: Type, bias: Type) -> Type:
    """The output type of a convolution, with the input's dtype. Raises GraphError."""
    if x.rank != weight.rank or x.rank != len(window.kernel) + 2 or x.layout != weight.layout:
        raise GraphError(f"{what}: expected an input and a weight of rank {len(window.kernel) + 2} in one layout, got {x} and {weight}")
    if group < 1 or x.channels != weight.channels * group or weight.shape[0] % group:
        raise GraphError(f"{what}: expected a weight for {x.channels} channels in {group} groups, got {weight}")
    if weight.spatial != window.kernel:
        raise GraphError(f"{what}: expected a weight with the kernel {list(window.kernel)}, got {weight}")
    if bias.shape != (weight.shape[0],):
        raise GraphError(f"{what}: expected a bias of {weight.shape[0]} values, got {bias}")
    x.image(x.channels, window.padded(x.spatial))  # must be a type of its own: its size is bounded
    return x.image(weight.shape[0], window.sizes(x.spatial))


def pooled(what: str, window: Window, x: Type) -> Type:
    """The output type of pooling, without quantization. Raises GraphError."""
    if x.rank != len(window.kernel) + 2:
        raise GraphError(f"{what}: expected an input of rank {len(window.kernel) + 2}, got {x}")
    rank = len(window.kernel)
    x.image(x.channels, window.padded(x.spatial))
    out = x.image(x.channels, window.sizes(x.spatial))
    if any(max(window.pads[axis], window.pads[axis + rank]) >= window.extent[axis] for axis in range(rank)):
        raise GraphError(f"{what}: expected pads smaller than the window, got {window}")
    return out


def need_floats(what: str, *inputs: Type) -> None:
    """Raises GraphError for inputs that are not float32."""
    other = next((item for item in inputs if item.dtype != "float32"), None)
    if other is not None:
        raise GraphError(f"{what}: expected float32, got {other}")


def padding_of_rounding_up(size: int, before: int, after: int, extent: int, stride: int) -> int:
    """Padding after the end with which a window whose output size is rounded up fits exactly; windows that would start in the padding
    after the end are left out."""
    out = -(-(size + before + after - extent) // stride) + 1
    if (out - 1) * stride >= size + before:
        out -= 1
    return max(0, (out - 1) * stride + extent - size - before)
