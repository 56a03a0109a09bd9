"""Convolution, pooling, resize, and the operators that trade channels for pixels."""

# Each public function reads the ONNX operators that `table.py` names it for, as ONNX defines them.
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

import numpy as np

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.importer.node import Source, axes_of, whole
from devices.native.ir import GraphError
from devices.native.operators.spatial import MAX_EXTENT, Coordinates, Mode, Rounding, padding_of_rounding_up


def conv(b: Builder, node: Source) -> str:
    x, weight, bias = node.input(0), node.input(1), node.optional(2)
    window = window_of(node, b.types[x].spatial, node.integers("kernel_shape", b.types[weight].shape[2:]))
    if bias is None:
        bias = b.constant(np.zeros(b.types[weight].shape[0], np.float32), "no bias")
    return b.add(ops.Conv(window, node.integer("group", 1)), x, weight, bias)


def conv_transpose(b: Builder, node: Source) -> str:
    x, weight, bias = node.input(0), node.input(1), node.optional(2)
    told, group = b.types[weight], node.integer("group", 1)
    kernel = node.integers("kernel_shape", told.shape[2:])
    rank = len(kernel)
    if told.rank != rank + 2 or b.types[x].rank != rank + 2:
        raise GraphError(f"expected an input and a weight of rank {rank + 2}, got {b.types[x]} and {told}")
    strides, dilations = node.integers("strides", (1,) * rank), node.integers("dilations", (1,) * rank)
    extra = node.integers("output_padding", (0,) * rank)
    pads = node.integers("pads", (0,) * (2 * rank))
    auto = node.text("auto_pad", "NOTSET")
    if not len(strides) == len(dilations) == len(extra) == rank or len(pads) != 2 * rank:
        raise GraphError(f"expected strides, dilations and output padding for {rank} axes")
    if node.has("output_shape") or auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = node.integers("output_shape", tuple(size * stride for size, stride in zip(b.types[x].spatial, strides, strict=True)))[
            -rank:
        ]
        total = [
            strides[i] * (size - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - wanted[i] for i, size in enumerate(b.types[x].spatial)
        ]
        extra = tuple(more - min(0, pad) for more, pad in zip(extra, total, strict=True))
        total = [max(0, pad) for pad in total]
        small, large = [pad // 2 for pad in total], [pad - pad // 2 for pad in total]
        pads = (*small, *large) if auto == "SAME_UPPER" else (*large, *small)
    window = ops.Window(kernel, strides, pads if auto != "VALID" else (0,) * (2 * rank), dilations)
    if bias is None:
        bias = b.constant(np.zeros(told.shape[1] * group, np.float32), "no bias")
    return b.add(ops.ConvTranspose(window, extra, group), x, weight, bias)


def max_pool(b: Builder, node: Source) -> str:
    node.only_output()
    x = node.input(0)
    window, _ = pool_window(node, b.types[x].spatial)
    return b.add(ops.MaxPool(window), x)


def average_pool(b: Builder, node: Source) -> str:
    x = node.input(0)
    window, overhang = pool_window(node, b.types[x].spatial)
    return b.add(ops.AveragePool(window, bool(node.integer("count_include_pad", 0)), overhang), x)


def global_pool(b: Builder, node: Source) -> str:
    x = node.input(0)
    if b.types[x].rank < 3:
        raise GraphError(f"expected an image, got {b.types[x]}")
    return b.add(ops.Reduce("mean" if node.operator == "GlobalAveragePool" else "max", b.types[x].spatial_axes), x)


def window_of(node: Source, spatial: Sequence[int], kernel: tuple[int, ...]) -> ops.Window:
    """The window that a node describes, with automatic padding worked out."""
    rank = len(kernel)
    strides, dilations = node.integers("strides", (1,) * rank), node.integers("dilations", (1,) * rank)
    pads = node.integers("pads", (0,) * (2 * rank))
    auto = node.text("auto_pad", "NOTSET")
    if len(spatial) != rank or len(strides) != rank or len(dilations) != rank:
        raise GraphError(f"expected {len(spatial)} axes for kernel, strides and dilations, got {kernel}, {strides}, {dilations}")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise GraphError(f"auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {auto!r}")
    if auto != "NOTSET":
        pads = (0,) * (2 * rank)
    window = ops.Window(kernel, strides, pads, dilations)
    if not auto.startswith("SAME"):
        return window
    total = [
        max(0, (-(-size // stride) - 1) * stride + extent - size)
        for size, stride, extent in zip(spatial, strides, window.extent, strict=True)
    ]
    small, large = [pad // 2 for pad in total], [pad - pad // 2 for pad in total]
    return ops.Window(kernel, strides, (*small, *large) if auto == "SAME_UPPER" else (*large, *small), dilations)


def pool_window(node: Source, spatial: Sequence[int]) -> tuple[ops.Window, tuple[int, ...]]:
    """The window of a pooling node, and how many of the pads at each end come of rounding the output size up."""
    window = window_of(node, spatial, node.integers("kernel_shape"))
    rank = len(window.kernel)
    if not node.integer("ceil_mode", 0):
        return window, (0,) * rank
    before, after = window.pads[:rank], window.pads[rank:]
    fitting = tuple(
        padding_of_rounding_up(size, before[i], after[i], window.extent[i], window.strides[i]) for i, size in enumerate(spatial)
    )
    overhang = tuple(max(0, pad - given) for pad, given in zip(fitting, after, strict=True))
    return ops.Window(window.kernel, window.strides, (*before, *fitting), window.dilations), overhang


def upsample(b: Builder, node: Source) -> str:
    x, rank = node.input(0), b.types[node.input(0)].rank
    scales = node.reals("scales") if node.version < 9 else tuple(map(float, b.known(node.input(1), "scales").ravel()))
    return _resized(b, node, x, tuple(range(rank)), scales, None, "asymmetric", "floor")


def resize(b: Builder, node: Source) -> str:
    x, rank = node.input(0), b.types[node.input(0)].rank
    if node.version < 11:
        return _resized(
            b, node, x, tuple(range(rank)), tuple(map(float, b.known(node.input(1), "scales").ravel())), None, "asymmetric", "floor"
        )
    if node.integer("antialias", 0):
        raise node.unsupported("antialias=1")
    axes = axes_of(node.integers("axes", tuple(range(rank))), rank)
    given = [b.known(name, "scales or sizes") if (name := node.optional(index)) is not None else np.empty(0) for index in (2, 3)]
    scales = tuple(map(float, given[0].ravel())) or None
    sizes = whole(given[1], "sizes") if given[1].size else None
    if (scales is None) == (sizes is None):
        raise GraphError("expected either scales or sizes")
    if sizes is not None and len(sizes) == len(axes):
        scales, sizes = _kept_aspect(node, [b.types[x].shape[axis] for axis in axes], sizes)
    return _resized(
        b, node, x, axes, scales or (), sizes, node.text("coordinate_transformation_mode", "half_pixel"),
        node.text("nearest_mode", "round_prefer_floor"),
    )  # fmt: skip


def _kept_aspect(node: Source, before: list[int], sizes: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if min(before, default=0) < 1:
        raise GraphError(f"expected an input of at least 1 along each axis, got {before}")
    scales = tuple(size / old for size, old in zip(sizes, before, strict=True))
    if policy == "stretch" or not scales:
        return scales, sizes
    if policy not in ("not_larger", "not_smaller"):
        raise GraphError(f"keep_aspect_ratio_policy: expected stretch, not_larger or not_smaller, got {policy!r}")
    scale = min(scales) if policy == "not_larger" else max(scales)
    return (scale,) * len(scales), tuple(int(np.floor(scale * old + 0.5)) for old in before)


def _resized(
    b: Builder, node: Source, x: str, axes: tuple[int, ...], scales: tuple[float, ...], sizes: tuple[int, ...] | None,
    coordinates: str, rounding: str,
) -> str:  # fmt: skip
    told, mode = b.types[x], node.text("mode", "nearest")
    if coordinates not in get_args(Coordinates):
        raise node.unsupported(f"coordinate_transformation_mode={coordinates}")
    if mode not in get_args(Mode):
        raise node.unsupported(f"mode={mode}")
    if rounding not in get_args(Rounding):
        raise GraphError(f"nearest_mode: expected {', '.join(get_args(Rounding))}, got {rounding!r}")
    if len(scales) != len(axes) or any(not 0 < scale <= MAX_EXTENT for scale in scales):
        raise GraphError(f"expected a scale above 0 and up to {MAX_EXTENT} for each of {len(axes)} axes, got {list(scales)}")
    if sizes is None:
        sizes = tuple(int(np.floor(np.float32(told.shape[axis]) * np.float32(scale))) for axis, scale in zip(axes, scales, strict=True))
    if len(sizes) != len(axes):
        raise GraphError(f"expected a size for each of {len(axes)} axes, got {list(sizes)}")
    how = cast(Mode, mode), cast(Coordinates, coordinates), cast(Rounding, rounding)
    changed = [i for i, axis in enumerate(axes) if sizes[i] != told.shape[axis] or scales[i] != 1]
    op = ops.Resize(
        tuple(axes[i] for i in changed), tuple(sizes[i] for i in changed), tuple(scales[i] for i in changed), *how,
        node.real("cubic_coeff_a", -0.75), bool(node.integer("exclude_outside", 0)),
    )  # fmt: skip
    return b.add(op, x) if changed else x


def depth_to_space(b: Builder, node: Source) -> str:
    x, size = node.input(0), node.integer("blocksize", 0)
    told = b.types[x]
    if told.rank != 4 or size < 1 or size > MAX_EXTENT or told.shape[1] % (size * size):
        raise GraphError(f"expected an image with a multiple of {size}x{size} channels, got {told}")
    n, c, h, w = told.shape
    if node.text("mode", "DCR") == "DCR":
        apart, perm = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        apart, perm = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    return b.add(ops.View((n, c // size**2, h * size, w * size)), b.add(ops.Transpose(perm), b.add(ops.View(apart), x)))


def space_to_depth(b: Builder, node: Source) -> str:
    x, size = node.input(0), node.integer("blocksize", 0)
    told = b.types[x]
    if told.rank != 4 or not 1 <= size <= MAX_EXTENT or told.shape[2] % size or told.shape[3] % size:
        raise GraphError(f"expected an image with sizes that are multiples of {size}, got {told}")
    n, c, h, w = told.shape
    apart = b.add(ops.View((n, c, h // size, size, w // size, size)), x)
    perm = (0, 3, 5, 1, 2, 4) if node.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return b.add(ops.View((n, c * size * size, h // size, w // size)), b.add(ops.Transpose(perm), apart))
