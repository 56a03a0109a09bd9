"""From a stored picture to a model's input or another picture: prepares the pixel kernel for one source spec and one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from devices.kernels import program as at
from devices.kernels.colour import mixing
from devices.kernels.load import functions
from devices.spec import ImageSpec, PixelFormat, TensorSpec

Matrix = np.ndarray
"""float64 (2, 3): output pixel -> stored source pixel, continuous coordinates (pixel i covers [i, i+1))."""

ALIGN = 64

INTERLEAVED = {"nv12": (1, 0, 1), "yuyv422": (0, 1, 3)}
"""Of formats with chroma inside another plane: that plane, and the byte offsets of both chroma components in it."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a picture lies in a tensor: value = (level - mean) / std per channel, channels in the order of `format`.

    Shape (1, C, height, width) or, for `nhwc`, (1, height, width, C). `uint8` carries plain levels.
    """

    width: int
    height: int
    format: Literal["rgb24", "bgr24", "gray8"] = "rgb24"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "uint8"] = "float32"

    @property
    def channels(self) -> int:
        return 1 if self.format == "gray8" else 3

    @property
    def spec(self) -> TensorSpec:
        c, h, w = self.channels, self.height, self.width
        return TensorSpec(self.dtype, (1, c, h, w) if self.layout == "nchw" else (1, h, w, c))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where samples come from. `rect` (left, top, right, bottom) is the part of the output that the picture covers; around it is `pad`.

    `outside`: an output pixel whose sample lies outside the source is the `nearest` source pixel, or `pad` (moving renderers only).
    """

    rect: tuple[int, int, int, int] | None = None
    pad: float = 0.0
    outside: Literal["nearest", "pad"] = "nearest"


@dataclass(frozen=True, slots=True)
class _Component:
    plane: int
    offset: int
    step: int
    grid: int = 0
    column_shift: int = 0
    row_shift: int = 0


def _components(format: PixelFormat) -> tuple[_Component, ...]:
    match format:
        case "yuv420p":
            return _Component(0, 0, 1), _Component(1, 0, 1, 1, 1, 1), _Component(2, 0, 1, 1, 1, 1)
        case "nv12":
            return _Component(0, 0, 1), _Component(1, 0, 2, 1, 1, 1), _Component(1, 1, 2, 1, 1, 1)
        case "yuv422p":
            return _Component(0, 0, 1), _Component(1, 0, 1, 1, 1, 0), _Component(2, 0, 1, 1, 1, 0)
        case "yuv444p":
            return _Component(0, 0, 1), _Component(1, 0, 1), _Component(2, 0, 1)
        case "yuyv422":
            return _Component(0, 0, 2), _Component(0, 1, 4, 1, 1, 0), _Component(0, 3, 4, 1, 1, 0)
        case "gray8":
            return (_Component(0, 0, 1),)
        case "bgr24" | "rgb24":
            return _Component(0, 0, 3), _Component(0, 1, 3), _Component(0, 2, 3)
        case "bgra" | "rgba":
            return _Component(0, 0, 4), _Component(0, 1, 4), _Component(0, 2, 4)


def address(array: np.ndarray) -> int:
    """Where the array's first element lies."""
    return int(array.__array_interface__["data"][0])


class Renderer:
    """The kernel prepared for pictures of `source` and one target. Not for two threads at once: it owns scratch memory.

    `matrix` maps output pixels to stored source pixels; None maps each output pixel to the source pixel of the same place. With
    `moving`, each call brings its own matrix. Raises ValueError for a matrix with non-finite numbers or a rect outside the output.
    """

    def __init__(
        self, source: ImageSpec, target: Pixels | ImageSpec, matrix: Matrix | None = None, placement: Placement | None = None,
        *, moving: bool = False,
    ) -> None:  # fmt: skip
        self.source, self.target = source, target
        self._render = functions()["ace_render"]
        self._shapes = source.planes
        self._output_shapes = (target.spec.shape,) if isinstance(target, Pixels) else target.planes
        self._output_dtype = np.dtype(target.dtype if isinstance(target, Pixels) else np.uint8)
        self._interleaved = INTERLEAVED.get(target.format)
        self._keep: list[np.ndarray] = []
        self._words = np.zeros(at.WORDS, np.int64)
        self._inputs = np.zeros(3, np.int64)
        self._outputs = np.zeros(3, np.int64)
        self._affine = self._kept(np.zeros((2, 3)))
        placement = placement or Placement()
        width, height = target.width, target.height
        rect = placement.rect or (0, 0, width, height)
        if not (0 <= rect[0] < rect[2] <= width and 0 <= rect[1] < rect[3] <= height):
            raise ValueError(f"expected a placed rectangle inside {width}x{height}, got {rect}")
        words = self._words
        words[at.WIDTH], words[at.HEIGHT] = width, height
        words[at.LEFT : at.BOTTOM + 1] = rect
        words[at.SOURCE_WIDTH], words[at.SOURCE_HEIGHT] = source.width, source.height
        words[at.PAD_OUTSIDE] = placement.outside == "pad"
        words[at.MATRIX] = address(self._affine)
        self._moving = moving
        components = self._colour(source, target, placement.pad)
        if moving:
            words[at.GEOMETRY] = at.AFFINE
        else:
            matrix = np.array([[1.0, 0, 0], [0, 1.0, 0]]) if matrix is None else matrix
            self._move(matrix)
            words[at.GEOMETRY] = _geometry(matrix, rect, source, target)
        self._lay_out(components, rect)
        self._addresses = address(words), address(self._inputs), address(self._outputs)

    def __call__(self, planes: Sequence[np.ndarray], outputs: Sequence[np.ndarray], matrix: Matrix | None = None) -> None:
        """Renders into `outputs`: the one tensor of a Pixels target, or the planes of an ImageSpec target.

        Raises ValueError for arrays of other shapes, dtypes or memory order, and for a matrix that is not finite.
        """
        if self._moving != (matrix is not None):
            raise ValueError("expected a matrix with each call of a moving renderer, and only there")
        if matrix is not None:
            self._move(matrix)
        if len(planes) != len(self._shapes):
            raise ValueError(f"expected {len(self._shapes)} planes of {self.source}, got {len(planes)}")
        for i, plane in enumerate(planes):
            if plane.shape != self._shapes[i] or plane.dtype != np.uint8 or not plane.flags.c_contiguous:
                expected = f"contiguous uint8 {self._shapes[i]}"
                raise ValueError(f"plane {i} of {self.source}: expected {expected}, got {plane.dtype} {plane.shape}")
            self._inputs[i] = address(plane)
        if len(outputs) != len(self._output_shapes):
            raise ValueError(f"expected {len(self._output_shapes)} output arrays, got {len(outputs)}")
        for i, output in enumerate(outputs):
            if output.shape != self._output_shapes[i] or output.dtype != self._output_dtype or not output.flags.carray:
                expected = f"writable contiguous {self._output_dtype} {self._output_shapes[i]}"
                raise ValueError(f"output {i}: expected {expected}, got {output.dtype} {output.shape}")
            self._outputs[i] = address(output)
        if self._interleaved:
            shared, first, second = self._interleaved
            base = int(self._outputs[shared])
            self._outputs[1:] = base + first, base + second
        self._render(*self._addresses)

    def _move(self, matrix: Matrix) -> None:
        if matrix.shape != (2, 3) or not np.isfinite(matrix).all() or np.abs(matrix).max() > 1e7:
            raise ValueError(f"expected a finite 2x3 matrix of pixels, got {matrix.tolist()}")
        self._affine[:] = matrix

    def _colour(self, source: ImageSpec, target: Pixels | ImageSpec, pad: float) -> tuple[_Component, ...]:
        """Writes colour, finish and store; gives the components that matter."""
        words = self._words
        rows = mixing(source, target if isinstance(target, ImageSpec) else ImageSpec(target.width, target.height, target.format))
        components = _components(source.format)
        if not rows[:, 1 : len(components)].any():
            components = components[:1]
        colour = self._kept(np.zeros((3, 4), np.float32))
        for channel, row in enumerate(rows):
            weights, constant = row[: len(components)], row[3]
            taken = np.flatnonzero(weights)
            exact = len(taken) == 1 and weights[taken[0]] == 1.0 and constant == 0.0
            words[at.TAKE + channel] = taken[0] if exact else -1
            colour[channel] = row
        words[at.COLOUR] = address(colour)
        words[at.COMPONENTS], words[at.CHANNELS] = len(components), len(rows)
        finish = self._kept(np.zeros((3, 3), np.float32))
        if isinstance(target, Pixels):
            mean, std = np.resize(target.mean, 3), np.resize(target.std, 3)
            if target.dtype == "float32":
                finish[:] = np.stack([1.0 / std, -mean / std, np.full(3, pad)], axis=1)
                words[at.STORE] = at.FLOAT_PLANES if target.layout == "nchw" else at.FLOAT_PIXELS
            else:
                finish[:, 2] = pad
                words[at.STORE] = at.BYTE_PLANES if target.layout == "nchw" else at.BYTE_PIXELS
        else:
            finish[: len(rows), 2] = mixing(ImageSpec(1, 1, "gray8"), target)[:, [0, 3]] @ (pad, 1.0)
            self._store(target.format)
        words[at.FINISH] = address(finish)
        return components

    def _store(self, format: PixelFormat) -> None:
        words = self._words
        match format:
            case "gray8" | "bgr24" | "rgb24":
                words[at.STORE] = at.BYTE_PIXELS
            case "bgra" | "rgba":
                words[at.STORE] = at.BYTE_PIXELS_ALPHA
            case _:
                words[at.STORE] = at.YUV
                luma, chroma, _ = _components(format)
                words[at.CHROMA_COLUMNS], words[at.CHROMA_ROWS] = chroma.column_shift, chroma.row_shift
                words[at.LUMA_STEP], words[at.CHROMA_STEP] = luma.step, chroma.step

    def _lay_out(self, components: tuple[_Component, ...], rect: tuple[int, int, int, int]) -> None:
        """Writes components, planes, tables and scratch rows."""
        words, width = self._words, self.target.width
        for c, component in enumerate(components):
            base = at.COMPONENT + c * at.COMPONENT_WORDS
            words[base : base + at.COMPONENT_WORDS] = (
                component.plane, component.offset, component.step, component.grid, component.column_shift, component.row_shift,
            )  # fmt: skip
        row_bytes = [int(np.prod(shape[1:])) for shape in self._shapes]
        for component in components:
            words[at.PLANES + component.plane * at.PLANE_WORDS + at.ROW_BYTES] = row_bytes[component.plane]
        if words[at.GEOMETRY] == at.SCALED:
            self._tables(components, rect, row_bytes)
        for c in range(3):
            words[at.LEVELS + c] = self._scratch(width)
            words[at.ROWS + c] = self._scratch(4 * width)
            words[at.BYTES + c] = self._scratch(width)
        if words[at.GEOMETRY] == at.WHOLE and components[0].step >= 3:
            for channel in range(words[at.CHANNELS]):
                if words[at.TAKE + channel] >= 0:
                    words[at.LEVELS + channel] = words[at.BYTES + words[at.TAKE + channel]]
        if words[at.GEOMETRY] == at.AFFINE:
            words[at.SITES] = self._scratch(5 * 4 * width)
        for c in range(2):
            words[at.HELD + c] = self._scratch(width)

    def _tables(self, components: tuple[_Component, ...], rect: tuple[int, int, int, int], row_bytes: list[int]) -> None:
        words = self._words
        scale_x, offset_x = self._affine[0, 0], self._affine[0, 2]
        scale_y, offset_y = self._affine[1, 1], self._affine[1, 2]
        columns, column_weights = _taps(np.arange(rect[0], rect[2]), scale_x, offset_x, self.source.width)
        rows, row_weights = _taps(np.arange(rect[1], rect[3]), scale_y, offset_y, self.source.height)
        for grid in {component.grid for component in components}:
            component = next(c for c in components if c.grid == grid)
            shared = [c for c in components if c.plane == component.plane]
            first = min((int(columns[0]) >> c.column_shift) * c.step for c in shared) // component.step * component.step
            left, right = columns >> component.column_shift, columns + 1 >> component.column_shift
            words[at.X_INDEX + grid] = address(self._kept((left * component.step - first).astype(np.int32)))
            words[at.X_WEIGHT + grid] = address(self._kept(np.where(left == right, 0.0, column_weights).astype(np.float32)))
            last = (self.source.height - 1) >> component.row_shift
            upper, lower = rows >> component.row_shift, np.minimum(rows + 1 >> component.row_shift, last)
            words[at.Y_UPPER + grid] = address(self._kept(upper.astype(np.int32)))
            words[at.Y_LOWER + grid] = address(self._kept(lower.astype(np.int32)))
            words[at.Y_WEIGHT + grid] = address(self._kept(np.where(upper == lower, 0.0, row_weights).astype(np.float32)))
            for plane in {c.plane for c in components if c.grid == grid}:
                reach = max(((int(columns[-1]) + 1 >> c.column_shift) + 1) * c.step for c in shared)
                base = at.PLANES + plane * at.PLANE_WORDS
                words[base + at.FIRST], words[base + at.END] = first, min(row_bytes[plane], reach)
                words[base + at.PLANE_GRID] = grid
                words[base + at.LERPED] = self._scratch(4 * (reach - first + ALIGN))

    def _scratch(self, size: int) -> int:
        """Zeroed memory that starts on a cache line; rows are read (never used) up to one pixel past their end."""
        memory = self._kept(np.zeros(size + 2 * ALIGN, np.uint8))
        return -(-address(memory) // ALIGN) * ALIGN

    def _kept(self, array: np.ndarray) -> np.ndarray:
        self._keep.append(array)
        return array


def _geometry(matrix: Matrix, rect: tuple[int, int, int, int], source: ImageSpec, target: Pixels | ImageSpec) -> int:
    if matrix[0, 1] != 0 or matrix[1, 0] != 0 or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        return at.AFFINE
    size = target.width, target.height
    if np.array_equal(matrix, [[1, 0, 0], [0, 1, 0]]) and rect == (0, 0, *size) and size == (source.width, source.height):
        return at.WHOLE
    return at.SCALED


def _taps(places: np.ndarray, scale: float, offset: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the sample before each place and weight of the one after it; both inside 0..size-1."""
    exact = np.clip((places + 0.5) * scale + offset - 0.5, 0.0, size - 1.0)
    index = np.minimum(np.floor(exact).astype(np.int64), max(size - 2, 0))
    return index, exact - index
