"""The emulation: runs a program with NumPy, in a local memory of the declared size and no other.

Sums of products are made by matrix products over whole numbers held in float32 or float64, chosen so wide that every partial sum is exact;
they are kept modulo 2^32, as an int32 accumulator keeps them. All else is computed in integers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from devices.vpu.instructions import (
    PARAMS,
    Add,
    Conv,
    Depthwise,
    Fill,
    Instruction,
    Largest,
    Load,
    Lookup,
    Mean,
    Multiply,
    Store,
    work,
)
from devices.vpu.machine import Machine
from devices.vpu.program import ARENA, CONSTANTS, Layer, Program, ProgramError

EXACT_FLOAT32 = 2**24
"""Whole numbers up to here are float32 values."""
BLOCK = 2**20
"""Values that the emulation itself takes at once, so that it needs some megabytes whatever the window is."""


class Emulator:
    """Runs one program. `local` is all the memory its operators see. Raises ProgramError for one that needs more than the machine has."""

    def __init__(self, program: Program, machine: Machine) -> None:
        if program.local_bytes > machine.local_bytes:
            raise ProgramError(
                f"expected a program for at most {machine.local_bytes} bytes of local memory, got one for {program.local_bytes}"
            )
        self.program, self.machine = program, machine
        self.local = np.zeros(program.local_bytes, np.uint8)
        self.spaces = [np.zeros(nbytes, np.uint8) for nbytes in program.space_bytes]
        self.spaces[CONSTANTS] = program.constants
        self.macs, self.moved = map(sum, zip(*map(work, program.instructions), strict=True)) if program.instructions else (0, 0)

    @property
    def nanoseconds(self) -> int:
        """How long a run takes at the declared speed."""
        return self.machine.nanoseconds(self.macs, self.moved)

    def run(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], watch: Callable[[Layer, np.ndarray], None] | None = None
    ) -> None:
        """Reads and writes flat uint8 arrays, one for each port; `watch` is shown the bytes of every layer's result."""
        begin = time.monotonic_ns()
        self.spaces[ARENA + 1 :] = [*inputs, *outputs]
        at = 0
        for layer in self.program.layers:
            for instruction in self.program.instructions[at : layer.end]:
                self._do(instruction)
            at = layer.end
            if watch is not None:
                watch(layer, self.spaces[layer.space][layer.address : layer.address + layer.nbytes])
        if self.machine.paced:
            time.sleep(max(0, self.nanoseconds - (time.monotonic_ns() - begin)) / 1e9)

    def _do(self, instruction: Instruction) -> None:
        match instruction:
            case Load() as load:
                self._here(load)[...] = self._there(load)
            case Store() as store:
                self._there(store)[...] = self._here(store)
            case Fill() as fill:
                self.local[fill.local : fill.local + fill.length] = fill.value
            case Conv() as conv:
                self._conv(conv)
            case Depthwise() as depthwise:
                self._depthwise(depthwise)
            case Largest() as pool:
                taps = _taps(self._picture(pool), pool)
                self._take(pool.y, pool.out_height, pool.out_width, pool.channels)[...] = np.max(taps, axis=(2, 3))
            case Mean() as mean:
                taps = _taps(self._picture(mean), mean)
                sums = np.asarray(np.sum(taps, axis=(2, 3), dtype=np.int64))
                sums -= mean.zero_x * mean.kernel_height * mean.kernel_width
                self._take(mean.y, *sums.shape)[...] = requantized(sums, mean.multiplier, mean.shift, mean.zero_y)
            case Add() as add:
                self._add(add)
            case Multiply() as two:
                counts, a, b = self._two(two)
                product = (a.astype(np.int32) - two.zero_a) * (b.astype(np.int32) - two.zero_b)
                self._take(two.y, *counts)[...] = requantized(product.astype(np.int64), two.multiplier, two.shift, two.zero_y)
            case Lookup() as one:
                np.take(self._take(one.table, 256), self._take(one.x, one.length), out=self._take(one.y, one.length))

    def _conv(self, conv: Conv) -> None:
        length = conv.kernel_height * conv.kernel_width * conv.channels
        weights = self._take(conv.weights, conv.out_channels, length).view(np.int8)
        params = self._params(conv.params, conv.out_channels)
        zeros = params[:, 3]
        w = weights.astype(np.int16) - zeros[:, None].astype(np.int16) if zeros.any() else weights
        most = 255 * int(np.abs(w, dtype=np.int16).max()) * length
        exact = np.float32 if most < EXACT_FLOAT32 else np.float64
        taps, columns = _taps(self._picture(conv), conv), w.T.astype(exact)
        sums = np.empty((conv.out_height, conv.out_width, conv.out_channels), np.int64)
        for rows, across in _blocks(conv.out_height, conv.out_width, length):
            x = np.subtract(taps[rows, across], conv.zero_x, dtype=np.int16).astype(exact)
            sums[rows, across] = (x.reshape(-1, length) @ columns).reshape(*x.shape[:2], -1)
        self._finish(conv, sums.reshape(-1, conv.out_channels), params, conv.out_channels)

    def _depthwise(self, conv: Depthwise) -> None:
        params = self._params(conv.params, conv.channels)
        weights = self._take(conv.weights, conv.kernel_height, conv.kernel_width, conv.channels).view(np.int8)
        w = weights.astype(np.int32) - params[:, 3]
        x = np.subtract(self._picture(conv), conv.zero_x, dtype=np.int32)
        taps = _taps(x, conv)
        sums = np.zeros((conv.out_height, conv.out_width, conv.channels), np.int32)
        for ky in range(conv.kernel_height):
            for kx in range(conv.kernel_width):
                sums += taps[:, :, ky, kx] * w[ky, kx]
        self._finish(conv, sums.reshape(-1, conv.channels).astype(np.int64), params, conv.channels)

    def _finish(self, conv: Conv | Depthwise, sums: np.ndarray, params: np.ndarray, channels: int) -> None:
        """int64 sums (places, channels) -> uint8."""
        sums += params[:, 0]
        sums = sums.astype(np.int32).astype(np.int64)
        made = requantized(sums, params[:, 1].astype(np.int64), params[:, 2].astype(np.int64), conv.zero_y, conv.low, conv.high)
        self._take(conv.y, conv.out_height * conv.out_width, channels)[...] = made

    def _add(self, add: Add) -> None:
        counts, a, b = self._two(add)
        sums = (a.astype(np.int32) - np.int32(add.zero_a)) * np.int32(add.multiplier_a)
        sums = sums + (b.astype(np.int32) - np.int32(add.zero_b)) * np.int32(add.multiplier_b)
        sums += np.int32(1 << (add.shift - 1))
        sums >>= np.int32(add.shift)
        sums += np.int32(add.zero_y)
        self._take(add.y, *counts)[...] = np.clip(sums, add.low, add.high)

    def _two(self, two: Add | Multiply) -> tuple[tuple[int, int, int], np.ndarray, np.ndarray]:
        counts = two.n0, two.n1, two.n2
        first = as_strided(self.local[two.a :], counts, (two.a0, two.a1, two.a2), writeable=False)
        return counts, first, as_strided(self.local[two.b :], counts, (two.b0, two.b1, two.b2), writeable=False)

    def _picture(self, window: Conv | Depthwise | Largest | Mean) -> np.ndarray:
        return self._take(window.x, window.height, window.width, window.channels)

    def _params(self, at: int, channels: int) -> np.ndarray:
        return self.local[at : at + channels * PARAMS * 4].view("<i4").reshape(channels, PARAMS)

    def _take(self, at: int, *shape: int) -> np.ndarray:
        return self.local[at : at + int(np.prod(shape))].reshape(shape)

    def _here(self, move: Load | Store) -> np.ndarray:
        return as_strided(self.local[move.local :], (move.n0, move.n1, move.n2), (move.l0, move.l1, move.l2))

    def _there(self, move: Load | Store) -> np.ndarray:
        return as_strided(
            self.spaces[move.space][move.address :], (move.n0, move.n1, move.n2), (move.s0, move.s1, move.s2),
            writeable=isinstance(move, Store),
        )  # fmt: skip


def requantized(
    sums: np.ndarray, multiplier: np.ndarray | int, shift: np.ndarray | int, zero: int, low: int = 0, high: int = 255
) -> np.ndarray:
    """int64 sums (changed in place) of int32 values -> uint8: clamp(((sum * multiplier + 2^(shift - 1)) >> shift) + zero, low, high)."""
    shift = np.clip(shift, 1, 62)
    sums *= multiplier
    sums += np.left_shift(1, shift - 1)
    sums >>= shift
    sums += zero
    np.clip(sums, low, high, out=sums)
    return sums.astype(np.uint8)


def _blocks(height: int, width: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of output values whose windows together are at most BLOCK values, or one."""
    rows = max(1, BLOCK // (width * length))
    columns = width if rows > 1 else max(1, BLOCK // length)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, top + rows), slice(left, left + columns)


def _taps(x: np.ndarray, window: Conv | Depthwise | Largest | Mean) -> np.ndarray:
    """(out_height, out_width, kernel_height, kernel_width, channels), a view."""
    row, column, channel = x.strides
    return as_strided(
        x, (window.out_height, window.out_width, window.kernel_height, window.kernel_width, window.channels),
        (row * window.stride_y, column * window.stride_x, row * window.dilation_y, column * window.dilation_x, channel), writeable=False,
    )  # fmt: skip
