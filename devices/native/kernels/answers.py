"""Known answers: before a process trusts loaded kernels, those that hang on special instructions must give what NumPy gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from devices.native.isa import Isa
from devices.native.kernels import pack, pack_winograd, sites, tiles
from devices.native.kernels.catalogue import INTS
from devices.native.kernels.kernel import Kernel, Words
from devices.native.kernels.layout import OVER_READ, channel_stride

DEPTH, SIDE, CHANNELS = 21, 5, 19


class Runner(Protocol):
    """What `Library` is to this module."""

    isa: Isa
    kernels: dict[str, Kernel]

    def run(self, name: str, words: Words, begin: int, end: int, scratch: np.ndarray | None = None) -> None: ...


def wrong(library: Runner) -> Iterator[str]:
    """Names of kernels whose answers are not NumPy's. The numbers are the largest that occur: a kernel that saturates is found."""
    for name, kernel in library.kernels.items():
        form, _, rest = name.partition("_")
        if form == "gemm" and not _product(library, kernel, rest):
            yield name
        if name in ("depthwise_u8_3x3", "depthwise_u8_3x3_stride1", "winograd_u8") and not _window(library, kernel):
            yield name


def _numbers(shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """int64 that come back to both bounds again and again."""
    values = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    cut: np.ndarray = np.clip(values * 37 % (2 * (high - low)) + low - (high - low) // 2, low, high)
    return cut


def _product(library: Runner, kernel: Kernel, rest: str) -> bool:
    floats, safe = rest.startswith("f32"), rest.endswith("pairsafe")
    kind: tiles.Kind = "floats" if floats else "pair-safe" if safe else "bytes"
    width = int(rest.split("_")[1])
    most = 64 if safe else 127
    a, b = _numbers((max(tiles.heights(library.isa, kind)[width]) + 1, DEPTH), 0, 255), _numbers((1, DEPTH, width), -most, most)
    rows, dtype = len(a), np.float32 if floats else np.uint8
    memory = np.zeros((rows + OVER_READ, channel_stride(DEPTH)), dtype)
    memory[:rows, :DEPTH] = a
    tall = max(tiles.heights(library.isa, kind)[width])
    out = np.zeros((rows, channel_stride(width)), np.float32 if floats else np.int32)
    given: dict[str, np.ndarray | float | int | None] = {
        "a": memory,
        "out": out,
        "stride_a": memory.strides[0],
        "stride_out": out.strides[0],
    }
    if floats:
        packed = pack.float_weights(b.astype(np.float32), width=width)
        given |= {"b": packed.data, "bias": packed.bias, "low": float("-inf"), "high": float("inf"), **packed.numbers(tall)}
    else:
        bytes_ = pack.weights(library.isa, b.astype(np.int8), width=width, pair_safe=safe, requantized=False)
        given |= {"b": bytes_.data, "bias": bytes_.bias, "scale": bytes_.scale, "kind": INTS, **bytes_.numbers(library.isa, tall)}
    library.run(kernel.name, kernel.words(**given), 0, rows, _scratch(given))
    return bool((out[:, :width] == a @ b[0]).all())


def _window(library: Runner, kernel: Kernel) -> bool:
    stride = channel_stride(CHANNELS)
    x, w = _numbers((SIDE, SIDE, CHANNELS), 0, 255), _numbers((3, 3, CHANNELS), -127, 127)
    memory = np.zeros((SIDE * SIDE + OVER_READ, stride), np.uint8)
    memory[: SIDE * SIDE, :CHANNELS] = x.reshape(-1, CHANNELS)
    wide = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    taps = sum(wide[ky : ky + SIDE, kx : kx + SIDE] * w[ky, kx] for ky in range(3) for kx in range(3))
    scale = 2.0**-12
    given: dict[str, np.ndarray | float | int | None] = {"zero": 128, "low": 0, "high": 255, "stride_out": stride, "x": memory}
    if kernel.name == "winograd_u8":
        # The depthwise sums as a dense convolution whose other weights are zero.
        full = np.zeros((3, 3, CHANNELS, CHANNELS), np.int8)
        full[:, :, range(CHANNELS), range(CHANNELS)] = w
        dense = pack_winograd.integers(library.isa, full, scale=scale)
        window, size = sites.winograd((SIDE, SIDE), stride, pads=(1, 1, 1, 1))
        rows = (-(-SIDE // 2)) ** 2
        given |= {"w": dense.data, "bias": dense.bias, "scale": dense.scale, **dense.numbers(library.isa, 6), **size}
    else:
        packed = pack.depthwise(library.isa, w.astype(np.int8), kernel.name, scale=scale)
        window, rows = sites.windows((SIDE, SIDE), stride, (3, 3), pads=(1, 1, 1, 1)), SIDE
        given |= {"w": packed.data, "bias": packed.bias, "scale": packed.scale, **packed.numbers()}
    out = np.zeros((SIDE, SIDE, stride), np.uint8)
    given |= {"out": out, "pad": np.zeros(SIDE * stride + OVER_READ, np.uint8), **window.words()}
    library.run(kernel.name, kernel.words(**given), 0, rows, _scratch(given))
    wanted = np.clip(np.rint(np.asarray(taps).astype(np.float32) * np.float32(scale)) + 128, 0, 255)
    return bool((out[:, :, :CHANNELS] == wanted).all())


def _scratch(given: dict[str, np.ndarray | float | int | None]) -> np.ndarray:
    size = given.get("scratch_bytes", 0)
    assert isinstance(size, int)
    return np.zeros(size + OVER_READ, np.uint8)
