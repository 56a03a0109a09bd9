"""What a port carries, known before a frame flows: pixel format, shape, dtype, record layout, memory domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, get_args

import numpy as np

PixelFormat = Literal["yuv420p", "nv12", "yuv422p", "yuv444p", "yuyv422", "gray8", "bgr24", "rgb24", "bgra", "rgba"]
Matrix = Literal["bt601", "bt709", "bt2020"]
RecordKind = Literal["detections", "classes", "landmarks", "event", "points"]

PIXEL_FORMATS: tuple[PixelFormat, ...] = get_args(PixelFormat)


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One picture as stored: `width` x `height` pixels (before rotation), planes without row padding, one after another.

    `rotation` is the clockwise turn in degrees that shows the picture upright. `full_range` and `matrix` describe YUV
    data (ITU-R BT.601, BT.709, BT.2020) and are ignored for RGB formats.
    """

    width: int
    height: int
    format: PixelFormat
    full_range: bool = False
    matrix: Matrix = "bt601"
    rotation: Literal[0, 90, 180, 270] = 0
    domain: str = "cpu"

    kind = "image"

    @property
    def planes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each uint8 plane: (rows, columns) or (rows, columns, channels). Odd sizes round chroma up."""
        w, h = self.width, self.height
        cw, ch = (w + 1) // 2, (h + 1) // 2
        match self.format:
            case "yuv420p":
                return (h, w), (ch, cw), (ch, cw)
            case "nv12":
                return (h, w), (ch, cw, 2)
            case "yuv422p":
                return (h, w), (h, cw), (h, cw)
            case "yuv444p":
                return (h, w), (h, w), (h, w)
            case "yuyv422":
                return ((h, cw, 4),)
            case "gray8":
                return ((h, w),)
            case "bgr24" | "rgb24":
                return ((h, w, 3),)
            case "bgra" | "rgba":
                return ((h, w, 4),)

    @property
    def nbytes(self) -> int:
        return sum(prod(shape) for shape in self.planes)

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) of the picture as shown; results are in these coordinates."""
        return (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)

    def split(self, buffer: np.ndarray) -> tuple[np.ndarray, ...]:
        """Views of the planes in a flat uint8 buffer of at least `nbytes`."""
        views, start = [], 0
        for shape in self.planes:
            size = prod(shape)
            views.append(buffer[start : start + size].reshape(shape))
            start += size
        return tuple(views)

    def __str__(self) -> str:
        turned = f" rotated {self.rotation}" if self.rotation else ""
        domain = f" in {self.domain}" if self.domain != "cpu" else ""
        return f"image {self.width}x{self.height} {self.format}{turned}{domain}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One array: NumPy dtype name and shape, every dimension known (batch included)."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype}[{'x'.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class TensorsSpec:
    """Named arrays that belong together: a model's input, or all its outputs, in a fixed order."""

    tensors: tuple[tuple[str, TensorSpec], ...]
    domain: str = "cpu"

    kind = "tensors"

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, each starting at a multiple of 64."""
        return sum(-(-spec.nbytes // 64) * 64 for _, spec in self.tensors)

    def __getitem__(self, name: str) -> TensorSpec:
        return dict(self.tensors)[name]

    def split(self, buffer: np.ndarray) -> dict[str, np.ndarray]:
        """Views of the arrays in a flat uint8 buffer of at least `nbytes`."""
        views, start = {}, 0
        for name, spec in self.tensors:
            views[name] = buffer[start : start + spec.nbytes].view(spec.dtype).reshape(spec.shape)
            start += -(-spec.nbytes // 64) * 64
        return views

    def __str__(self) -> str:
        domain = f" in {self.domain}" if self.domain != "cpu" else ""
        return "tensors {" + ", ".join(f"{name}: {spec}" for name, spec in self.tensors) + "}" + domain


@dataclass(frozen=True, slots=True)
class RecordsSpec:
    """A bounded list of small structured records; coordinates are pixels of the upright source frame.

    `capacity` bounds the records of one frame; `labels` names class ids (or event names); `points` is the number of key
    points of a detection or landmark record.
    """

    record: RecordKind
    capacity: int
    labels: tuple[str, ...] = ()
    points: int = 0

    domain = "cpu"

    @property
    def kind(self) -> str:
        return self.record

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Layout of one record. detections: box (x1, y1, x2, y2), score, class_id, track (-1: none), points.
        classes: score, class_id. landmarks: points (x, y, z), score, handedness (probability of a right hand, -1: unknown).
        event: name (index into labels), track (-1: none), value, point. points: point, score."""
        match self.record:
            case "detections":
                fields: list[tuple[object, ...]] = [
                    ("box", "<f4", (4,)), ("score", "<f4"), ("class_id", "<i4"), ("track", "<i4"),
                ]  # fmt: skip
                if self.points:
                    fields.append(("points", "<f4", (self.points, 2)))
            case "classes":
                fields = [("score", "<f4"), ("class_id", "<i4")]
            case "landmarks":
                fields = [("points", "<f4", (self.points, 3)), ("score", "<f4"), ("handedness", "<f4")]
            case "event":
                fields = [("name", "<i4"), ("track", "<i4"), ("value", "<f8"), ("point", "<f4", (2,))]
            case "points":
                fields = [("point", "<f4", (2,)), ("score", "<f4")]
        return np.dtype(fields)

    @property
    def nbytes(self) -> int:
        return self.capacity * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.record} (at most {self.capacity})"


@dataclass(frozen=True, slots=True)
class ManySpec:
    """A bounded list of values of one frame, each naming its parent (an index into the list it was made from)."""

    item: ImageSpec | TensorsSpec | RecordsSpec
    capacity: int

    @property
    def kind(self) -> str:
        return self.item.kind

    @property
    def domain(self) -> str:
        return self.item.domain

    @property
    def nbytes(self) -> int:
        return self.capacity * (-(-self.item.nbytes // 64) * 64)

    def __str__(self) -> str:
        return f"at most {self.capacity} x {self.item}"


Spec = ImageSpec | TensorsSpec | RecordsSpec | ManySpec
Specs = Mapping[str, Spec]


def in_domain(spec: Spec, domain: str) -> Spec:
    """The same spec in another memory domain. Records always live in `cpu`."""
    match spec:
        case ManySpec():
            item = in_domain(spec.item, domain)
            assert not isinstance(item, ManySpec)
            return replace(spec, item=item)
        case RecordsSpec():
            return spec
        case _:
            return replace(spec, domain=domain)
