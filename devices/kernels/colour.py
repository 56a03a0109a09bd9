"""Colour as one affine map: from the components of one pixel format to the channels of another, in floats or in fixed point."""

from __future__ import annotations

import numpy as np

from devices.spec import ImageSpec, Matrix

LUMA: dict[Matrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Weights of red and blue in luma (ITU-R BT.601, BT.709, BT.2020)."""

GRAY = np.array([9798, 19235, 3735]) / 32768
"""Weights of red, green, blue in a gray picture: BT.601 in 15 bits as OpenCV has them, so that results are equal."""


def mixing(source: ImageSpec, target: ImageSpec) -> np.ndarray:
    """float64 (channels, 4): weights of the (at most three) source components and a constant, for each target channel, levels in 0..255.

    Gray pictures are full range; alpha is ignored as a source and opaque as a target. YUV of equal range and matrix passes unchanged.
    """
    if is_yuv(source) and is_yuv(target) and (source.full_range, source.matrix) == (target.full_range, target.matrix):
        return np.eye(3, 4)
    if target.format == "gray8":
        return _gray(source)
    result = _from_rgb(target) @ _to_rgb(source)
    nearest = np.round(result)
    snapped: np.ndarray = np.where(np.abs(result - nearest) < 1e-9, nearest, result)
    return snapped[:3]


def fixed_point(source: ImageSpec) -> tuple[int, int, int, int, int, int]:
    """Of a YUV source: the luma that is black, and in 20 bits the weights of luma, of U in blue, of U and V in green, of V in red.

    BT.601 of limited range has the weights that OpenCV has (three decimals, as ITU-R BT.601 is often quoted); the others are exact.
    """
    black = 0 if source.full_range else 16
    if source.matrix == "bt601" and not source.full_range:
        return black, 1220542, 2116026, -409993, -852492, 1673527
    rgb = np.rint(_to_rgb(source) * (1 << 20)).astype(int)
    return black, int(rgb[0, 0]), int(rgb[2, 1]), int(rgb[1, 1]), int(rgb[1, 2]), int(rgb[0, 2])


def is_yuv(spec: ImageSpec) -> bool:
    """Whether components are luma and chroma."""
    return spec.format.startswith(("yuv", "yuyv", "nv"))


def _gray(source: ImageSpec) -> np.ndarray:
    row = np.zeros((1, 4))
    if source.format == "gray8":
        row[0, 0] = 1.0
    elif is_yuv(source):
        row[0, 0], row[0, 3] = (1.0, 0.0) if source.full_range else (255 / 219, -16 * 255 / 219)
    else:
        row[0, :3] = GRAY if source.format in ("rgb24", "rgba") else GRAY[::-1]
    return row


def _to_rgb(source: ImageSpec) -> np.ndarray:
    """(4, 4): homogeneous components -> homogeneous RGB."""
    match source.format:
        case "rgb24" | "rgba":
            return np.eye(4)
        case "bgr24" | "bgra":
            return np.eye(4)[[2, 1, 0, 3]]
        case "gray8":
            result = np.zeros((4, 4))
            result[:3, 0] = result[3, 3] = 1.0
            return result
        case _:
            return np.linalg.inv(_yuv_from_rgb(source))


def _from_rgb(target: ImageSpec) -> np.ndarray:
    match target.format:
        case "rgb24" | "rgba":
            return np.eye(4)
        case "bgr24" | "bgra":
            return np.eye(4)[[2, 1, 0, 3]]
        case _:
            return _yuv_from_rgb(target)


def _yuv_from_rgb(spec: ImageSpec) -> np.ndarray:
    red, blue = LUMA[spec.matrix]
    luma = np.array([red, 1 - red - blue, blue])
    result = np.eye(4)
    result[0, :3] = luma
    result[1, :3] = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    result[2, :3] = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    if not spec.full_range:
        result[0] *= 219 / 255
        result[1:3] *= 224 / 255
        result[0, 3] = 16
    result[1:3, 3] = 128
    return result
