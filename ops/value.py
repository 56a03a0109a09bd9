"""What flows: pictures, tensors, records, and bounded lists of them. Plain values over arrays, valid during `run` only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from devices.spec import ImageSpec, RecordsSpec, Spec, TensorsSpec

Affine = np.ndarray
"""float64 (2, 3): maps continuous pixel coordinates (pixel i covers [i, i+1)) of a value to the upright source frame."""

Records = np.ndarray
"""1-D structured array with the dtype of its RecordsSpec."""

IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
IDENTITY.setflags(write=False)


class Frame(NamedTuple):
    """Which frame is being processed. `time_ns` is the UTC capture time (None for files)."""

    stream: str
    seq: int
    pts_ns: int
    epoch: int = 0
    time_ns: int | None = None


@dataclass(slots=True)
class Image:
    """A picture in memory. `planes` are uint8 views as `spec.planes` says; read-only unless this operator allocated them.

    `slot` names the shared slot that holds the planes (set by the engine; lets a picture be passed on without a copy).
    """

    spec: ImageSpec
    planes: tuple[np.ndarray, ...]
    transform: Affine = field(default_factory=lambda: IDENTITY)
    slot: Any = None

    @classmethod
    def from_array(cls, pixels: np.ndarray, format: str = "bgr24") -> Image:
        """A picture over an (H, W, 3), (H, W, 4) or (H, W) uint8 array, without a copy."""
        spec = ImageSpec(pixels.shape[1], pixels.shape[0], format)  # type: ignore[arg-type]
        return cls(spec, (pixels.reshape(spec.planes[0]),))


@dataclass(slots=True)
class Tensors:
    """Named arrays. `transform` maps the model input's pixels to the source frame and travels on through inference."""

    arrays: dict[str, np.ndarray]
    transform: Affine = field(default_factory=lambda: IDENTITY)
    slot: Any = None


@dataclass(slots=True)
class Many:
    """Several values of one frame. `parents[i]` is the index of the item that `items[i]` was made from."""

    items: list[Any]
    parents: list[int]


Value = Image | Tensors | Records | Many


def rotation_transform(spec: ImageSpec) -> Affine:
    """Stored pixels -> upright source frame, for a picture as a source delivers it."""
    w, h = float(spec.width), float(spec.height)
    match spec.rotation:
        case 0:
            return IDENTITY
        case 90:
            return np.array([[0.0, -1.0, h], [1.0, 0.0, 0.0]])
        case 180:
            return np.array([[-1.0, 0.0, w], [0.0, -1.0, h]])
        case 270:
            return np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, w]])


def compose(outer: Affine, inner: Affine) -> Affine:
    """The map that applies `inner` first, then `outer`."""
    result = np.empty((2, 3))
    result[:, :2] = outer[:, :2] @ inner[:, :2]
    result[:, 2] = outer[:, :2] @ inner[:, 2] + outer[:, 2]
    return result


def invert(transform: Affine) -> Affine:
    """The inverse map. Raises numpy.linalg.LinAlgError when it has none."""
    result = np.empty((2, 3))
    result[:, :2] = np.linalg.inv(transform[:, :2])
    result[:, 2] = -result[:, :2] @ transform[:, 2]
    return result


def apply(transform: Affine, points: np.ndarray) -> np.ndarray:
    """Maps float points of shape (..., 2)."""
    mapped: np.ndarray = points @ transform[:, :2].T + transform[:, 2]
    return mapped


def empty(spec: Spec) -> Value:
    """A value of this spec with nothing in it: fresh memory for pictures and tensors, no records, no items."""
    match spec:
        case ImageSpec():
            return Image(spec, spec.split(np.empty(spec.nbytes, np.uint8)))
        case TensorsSpec():
            return Tensors(spec.split(np.empty(spec.nbytes, np.uint8)))
        case RecordsSpec():
            return np.empty(0, spec.dtype)
        case _:
            return Many([], [])
