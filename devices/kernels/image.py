"""From a stored picture to a model's input or another picture: prepares the pixel kernel for one source spec and one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from devices.kernels import program as at
from devices.kernels.colour import fixed_point, is_yuv, mixing
from devices.kernels.geometry import Matrix, columns, quarter, rows, taps, upright
from devices.kernels.load import functions
from devices.spec import ImageSpec, PixelFormat, TensorSpec

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
    column_shift: int = 0
    row_shift: int = 0


def _components(format: PixelFormat) -> tuple[_Component, ...]:
    match format:
        case "yuv420p":
            return _Component(0, 0, 1), _Component(1, 0, 1, 1, 1), _Component(2, 0, 1, 1, 1)
        case "nv12":
            return _Component(0, 0, 1), _Component(1, 0, 2, 1, 1), _Component(1, 1, 2, 1, 1)
        case "yuv422p":
            return _Component(0, 0, 1), _Component(1, 0, 1, 1), _Component(2, 0, 1, 1)
        case "yuv444p":
            return _Component(0, 0, 1), _Component(1, 0, 1), _Component(2, 0, 1)
        case "yuyv422":
            return _Component(0, 0, 2), _Component(0, 1, 4, 1), _Component(0, 3, 4, 1)
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

    Upright, mirrored and quarter-turned pictures are converted to RGB (as cv2.cvtColor), then scaled (as cv2.resize), with results equal
    to the bit; gray ones are converted to gray, then scaled. Any other turn samples each component in float32, then
    converts: for RGB pictures within one level of cv2.warpAffine.
    """

    def __init__(
        self, source: ImageSpec, target: Pixels | ImageSpec, matrix: Matrix | None = None, placement: Placement | None = None,
        *, moving: bool = False,
    ) -> None:  # fmt: skip
        placement = placement or Placement()
        width, height = target.width, target.height
        rect = placement.rect or (0, 0, width, height)
        if not (0 <= rect[0] < rect[2] <= width and 0 <= rect[1] < rect[3] <= height):
            raise ValueError(f"expected a placed rectangle inside {width}x{height}, got {rect}")
        self._moving = moving
        self._keep: list[np.ndarray] = []
        self._words = np.zeros(at.WORDS, np.int64)
        self._affine = self._kept(np.zeros((2, 3)))
        self._turning: tuple[Renderer, list[np.ndarray]] | None = None
        if not moving:
            self._move(np.eye(2, 3) if matrix is None else matrix)
            source = self._turn(source, target)
        self.source, self.target = source, target
        self._render = functions()["ace_render"]
        self._shapes = source.planes
        self._output_shapes = (target.spec.shape,) if isinstance(target, Pixels) else target.planes
        self._output_dtype = np.dtype(target.dtype if isinstance(target, Pixels) else np.uint8)
        self._interleaved = INTERLEAVED.get(target.format)
        self._inputs = np.zeros(3, np.int64)
        self._outputs = np.zeros(3, np.int64)
        words = self._words
        words[at.WIDTH], words[at.HEIGHT] = width, height
        words[at.LEFT : at.BOTTOM + 1] = rect
        words[at.SOURCE_WIDTH], words[at.SOURCE_HEIGHT] = source.width, source.height
        words[at.PAD_OUTSIDE] = placement.outside == "pad"
        words[at.MATRIX] = address(self._affine)
        words[at.GEOMETRY] = self._geometry(rect)
        components = self._colour()
        self._finish(placement.pad)
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
        if self._turning:
            turn, turned = self._turning
            turn(planes, turned)
            planes = turned
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

    def _turn(self, source: ImageSpec, target: Pixels | ImageSpec) -> ImageSpec:
        """Has a picture that is turned by quarters and scaled too turned first; gives the spec of what is then scaled."""
        split = quarter(self._affine, source.width, source.height)
        if split is None:
            return source
        turn, size, rest = split
        if np.array_equal(rest, np.eye(2, 3)) and size == (target.width, target.height):
            return source
        plain = ImageSpec(*size, "gray8" if target.format == "gray8" and (is_yuv(source) or source.format == "gray8") else "bgr24")
        turned = plain.split(self._kept(np.zeros(plain.nbytes, np.uint8)))
        self._turning = Renderer(source, plain, turn), list(turned)
        self._move(rest)
        return plain

    def _geometry(self, rect: tuple[int, int, int, int]) -> int:
        if self._moving or not upright(self._affine):
            return at.AFFINE
        size = self.target.width, self.target.height
        same = np.array_equal(self._affine, np.eye(2, 3)) and rect == (0, 0, *size) and size == (self.source.width, self.source.height)
        return at.WHOLE if same else at.SCALED

    def _colour(self) -> tuple[_Component, ...]:
        """Writes how components become channels; gives the components that matter."""
        words, source, target = self._words, self.source, self.target
        shown = target if isinstance(target, ImageSpec) else ImageSpec(target.width, target.height, target.format)
        components = _components(source.format)
        colour = self._kept(np.zeros((3, 4), np.float32))
        words[at.COLOUR] = address(colour)
        scaled = words[at.GEOMETRY] == at.SCALED
        exact = not self._moving and (scaled or words[at.GEOMETRY] == at.WHOLE or quarter(self._affine, 1, 1) is not None)
        if is_yuv(source) and exact and (scaled or not is_yuv(shown)):
            components, source = self._fixed(components, shown)
        table = mixing(source, shown)
        if source is self.source and not table[:, 1 : len(components)].any():
            components = components[:1]
        for channel, row in enumerate(table):
            used, constant = row[: len(components)], row[3]
            taken = np.flatnonzero(used)
            whole = len(taken) == 1 and used[taken[0]] == 1.0 and constant == 0.0
            words[at.TAKE + channel] = taken[0] if whole else -1
            colour[channel] = row
        words[at.COMPONENTS], words[at.CHANNELS] = len(components), len(table)
        if scaled:
            fetched = at.CHROMA if is_yuv(self.source) else at.PIXELS if self.source.width > 1 else at.PIXEL
            words[at.FETCH] = fetched if len(components) == 3 else at.LUMA if words[at.FIXED] else at.BYTES_AS_STORED
        rgb = ("rgb24", "bgr24")
        interleaved = isinstance(target, ImageSpec) or (target.dtype == "uint8" and target.layout == "nhwc")
        if words[at.GEOMETRY] == at.WHOLE and self.source.format in rgb and target.format in rgb and interleaved:
            words[at.STRAIGHT] = 1 if source.format == target.format else 2
        return components

    def _fixed(self, components: tuple[_Component, ...], shown: ImageSpec) -> tuple[tuple[_Component, ...], ImageSpec]:
        """Writes the fixed-point code; gives the components in its order and the spec of what comes out of it."""
        words, source = self._words, self.source
        black, luma, blue, green_u, green_v, red = fixed_point(source)
        if shown.format == "gray8":
            words[at.FIXED] = not source.full_range
            code = black, luma, 0, 0, 0, 0
            components, result = components[:1], ImageSpec(source.width, source.height, "gray8")
        elif shown.format in ("rgb24", "rgba"):
            code = black, luma, red, green_v, green_u, blue
            components, result = (components[0], components[2], components[1]), ImageSpec(source.width, source.height, "rgb24")
            words[at.FIXED] = 1
        else:
            code = black, luma, blue, green_u, green_v, red
            result = ImageSpec(source.width, source.height, "bgr24")
            words[at.FIXED] = 1
        words[at.CODE] = address(self._kept(np.array(code, np.int32)))
        return components, result

    def _finish(self, pad: float) -> None:
        """Writes how levels are stored, and those of the ground."""
        words, target = self._words, self.target
        finish = self._kept(np.zeros((3, 3), np.float32))
        finish[:, 1] = 1.0
        words[at.FINISH] = address(finish)
        if isinstance(target, ImageSpec):
            words[at.STORE] = at.BYTE_PIXELS
            finish[: words[at.CHANNELS], 2] = mixing(ImageSpec(1, 1, "gray8"), target)[:, [0, 3]] @ (pad, 1.0)
            if target.format in ("bgra", "rgba"):
                words[at.STORE] = at.BYTE_PIXELS_ALPHA
            elif is_yuv(target):
                words[at.STORE] = at.YUV
                luma, chroma, _ = _components(target.format)
                words[at.CHROMA_COLUMNS], words[at.CHROMA_ROWS] = chroma.column_shift, chroma.row_shift
                words[at.LUMA_STEP], words[at.CHROMA_STEP] = luma.step, chroma.step
            return
        planar = target.layout == "nchw"
        finish[:, 2] = pad
        if target.dtype == "uint8":
            words[at.STORE] = at.BYTE_PLANES if planar else at.BYTE_PIXELS
            return
        words[at.STORE] = at.FLOAT_PLANES if planar else at.FLOAT_PIXELS
        std = np.resize(target.std, 3).astype(np.float32)
        words[at.DIVIDES] = bool((np.abs(np.frexp(std)[0]) != 0.5).any())  # the inverse of a power of two is exact
        finish[:, 0] = np.resize(target.mean, 3)
        finish[:, 1] = std if words[at.DIVIDES] else 1 / std

    def _lay_out(self, components: tuple[_Component, ...], rect: tuple[int, int, int, int]) -> None:
        """Writes components, planes, tables and scratch rows."""
        words, width = self._words, self.target.width
        for c, component in enumerate(components):
            base = at.COMPONENT + c * at.COMPONENT_WORDS
            words[base : base + at.COMPONENT_WORDS] = (
                component.plane, component.offset, component.step, component.column_shift, component.row_shift,
            )  # fmt: skip
        for i, shape in enumerate(self._shapes):
            words[at.ROW_BYTES + i] = int(np.prod(shape[1:]))
        for c in range(3):
            words[at.LEVELS + c] = self._scratch(width)
            words[at.BYTES + c] = self._scratch(width)
        for c in range(2):
            words[at.HELD + c] = self._scratch(width)
        if words[at.GEOMETRY] == at.SCALED:
            self._tables(components[0].step, rect)
        elif words[at.GEOMETRY] == at.AFFINE:
            words[at.SITES] = self._scratch(5 * 4 * width)
            for c in range(3):
                words[at.ROWS + c] = self._scratch(4 * width)
        if words[at.GEOMETRY] == at.SCALED or (words[at.GEOMETRY] == at.WHOLE and components[0].step >= 3):
            for channel in range(words[at.CHANNELS]):
                if words[at.TAKE + channel] >= 0:
                    words[at.LEVELS + channel] = words[at.BYTES + words[at.TAKE + channel]]

    def _tables(self, step: int, rect: tuple[int, int, int, int]) -> None:
        """Writes what SCALED needs: taps across and down, how a row is fetched, and rows to keep."""
        words, width = self._words, self.source.width
        whole, rest = taps(rect[0], rect[2], self._affine[0, 0], self._affine[0, 2], width)
        left, before, after = columns(whole, rest, width)
        first, end = int(left[0]) & ~1, min(width, int(left[-1]) + 2)
        words[at.FIRST], words[at.END] = first, end
        match int(words[at.FETCH]):
            case at.CHROMA | at.PIXEL:
                offsets, words[at.REACH] = (left - first) * 4, 4
            case at.LUMA:
                offsets, words[at.REACH] = left - first, 1
            case at.PIXELS if step == 3:
                # The word on the right starts in the left pixel, so as to end where its own pixel ends.
                offsets, words[at.REACH], words[at.REACH_SHIFT] = left * 3, 2, 8
            case _:
                offsets, words[at.REACH] = left * step, step if width > 1 else 0
        words[at.WORDS_ROW] = self._scratch(4 * (end - first + 1))
        words[at.X_INDEX] = address(self._kept(offsets.astype(np.int32)))
        words[at.X_BEFORE], words[at.X_AFTER] = (address(self._kept(weights.astype(np.int16))) for weights in (before, after))
        whole, rest = taps(rect[1], rect[3], self._affine[1, 1], self._affine[1, 2], self.source.height)
        tables = [self._kept(table) for table in rows(whole, rest, self.source.height)]
        words[at.Y_UPPER : at.Y_AFTER + 1] = [address(table) for table in tables]
        for i in range(6):
            words[at.KEPT + i] = self._scratch(2 * len(left))
        for i in range(2):
            words[at.TAPS + i] = self._scratch(4 * len(left))

    def _scratch(self, size: int) -> int:
        """Zeroed memory that starts on a cache line; rows are read (never used) up to one pixel past their end."""
        memory = self._kept(np.zeros(size + 2 * ALIGN, np.uint8))
        return -(-address(memory) // ALIGN) * ALIGN

    def _kept(self, array: np.ndarray) -> np.ndarray:
        self._keep.append(array)
        return array
