"""What a decoded frame really is: pixel format, colour range, matrix and rotation; and its planes without row padding."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np

from devices.spec import ImageSpec, Matrix, PixelFormat

_FORMATS: dict[str, PixelFormat] = {
    "yuv420p": "yuv420p", "yuvj420p": "yuv420p", "nv12": "nv12", "yuv422p": "yuv422p", "yuvj422p": "yuv422p", "yuv444p": "yuv444p",
    "yuvj444p": "yuv444p", "yuyv422": "yuyv422", "gray": "gray8", "bgr24": "bgr24", "rgb24": "rgb24", "bgra": "bgra", "rgba": "rgba",
}  # fmt: skip
"""FFmpeg's pixel formats that flow as they are. `yuvj` is FFmpeg's old name for full range."""

_MATRICES: dict[int, Matrix] = {1: "bt709", 7: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
"""ISO/IEC 23091-2 (H.273) MatrixCoefficients. SMPTE 240M differs from BT.709, and FCC from BT.601, by less than a level."""

_LIMITED, _FULL = 1, 2


def describe(frame: Any) -> ImageSpec:
    """The spec of an `av.VideoFrame` in its own format, or in the one `native` converts it to."""
    name = frame.format.name
    target = name if name in _FORMATS else nearest(frame.format)
    return _spec(target, frame.width, frame.height, _is_full(frame), int(frame.colorspace), round(frame.rotation))


def native(frame: Any, reformatter: Any) -> Any:
    """The frame itself when its format flows as it is, else the frame converted by an `av` VideoReformatter to the nearest that does."""
    if frame.format.name in _FORMATS:
        return frame
    range_ = _FULL if _is_full(frame) else _LIMITED
    return reformatter.reformat(frame, format=nearest(frame.format), src_color_range=range_, dst_color_range=range_, threads=1)


def planes(frame: Any, spec: ImageSpec) -> tuple[np.ndarray, ...]:
    """uint8 views of the decoder's own memory, shaped as `spec.planes`: rows are as wide as the picture, strides as the decoder's.

    A view keeps the frame's memory alive for as long as it is held.
    """
    return tuple(_view(plane, shape) for plane, shape in zip(frame.planes, spec.planes, strict=True))


def nearest(format: Any) -> str:
    """FFmpeg's name of the format that keeps most of an `av.VideoFormat` that does not flow as it is: 8 bits, chroma as fine or finer."""
    if format.is_rgb or format.has_palette:
        alpha = format.has_palette or any(component.is_alpha for component in format.components)
        return "bgra" if alpha else "bgr24"
    if sum(not component.is_alpha for component in format.components) < 3:
        return "gray"
    if format.chroma_width(64) == 64:
        return "yuv444p"
    return "yuv422p" if format.chroma_height(64) == 64 else "yuv420p"


def _view(plane: Any, shape: tuple[int, ...]) -> np.ndarray:
    stride = plane.line_size
    first = (shape[0] - 1) * -stride if stride < 0 else 0  # some are stored bottom row first
    memory = memoryview(plane).toreadonly()  # later pictures are predicted from this one
    return np.ndarray(shape, np.uint8, memory, first, (stride, *shape[2:], 1))


def _is_full(frame: Any) -> bool:
    if frame.color_range in (_LIMITED, _FULL):
        return bool(frame.color_range == _FULL)
    name = frame.format.name
    return str(name).startswith(("yuvj", "gray"))  # FFmpeg takes grey pictures that say nothing as full range


@lru_cache(64)
def _spec(name: str, width: int, height: int, full_range: bool, matrix: int, turn: int) -> ImageSpec:
    """`turn` is counter-clockwise. YUV that names no matrix is BT.709 from 1280 columns or 577 rows on, else BT.601, as in mpv."""
    yuv = name not in ("bgr24", "rgb24", "bgra", "rgba")
    guess: Matrix = "bt709" if width >= 1280 or height > 576 else "bt601"
    return ImageSpec(
        width,
        height,
        _FORMATS[name],
        full_range=full_range if yuv else False,
        matrix=_MATRICES.get(matrix, guess) if yuv else "bt601",
        rotation=cast(Literal[0, 90, 180, 270], round(-turn / 90) * 90 % 360),
    )
