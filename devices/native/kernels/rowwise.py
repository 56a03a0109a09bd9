"""Functions of whole float32 rows: softmax, layer norm, where the largest element is.

Sums are formed in the same order on every instruction set: eight partial sums, then what is left one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.curves import exp
from devices.native.kernels.emit import Region, Value, f32, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel

LANES = 8
FLOATS = vector(f32, LANES)


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    FORMS[str(kernel.variant[0])](_Rows(Frame(module, isa, kernel, checked=checked)))


class _Rows:
    """The rows of `x` and `out`, and ways to go over their `channels` elements."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.code = frame, frame.code
        self.x, self.out, self.count = frame.buffer("x"), frame.buffer("out"), frame.number("channels")
        self.step_x, self.step_out = frame.number("stride_x"), frame.number("stride_out")
        self.bulk = self.count & -LANES

    def fold(self, source: Region, start: float, join: Callable[[Value, Value], Value], value: Callable[[Value], Value]) -> Value:
        """`value` of each element joined to one number."""
        code = self.code
        parts, last = code.variable(start, FLOATS), code.variable(start, f32)
        with code.each(0, self.bulk, LANES) as i:
            parts.set(join(parts.get(), value(code.load(FLOATS, source, i << 2))))
        with code.each(self.bulk, self.count) as i:
            last.set(join(last.get(), code.pick(value(code.splat(code.load(f32, source, i << 2), LANES)), 0)))
        row = [code.pick(parts.get(), lane) for lane in range(LANES)]
        while len(row) > 1:
            row = [join(a, b) for a, b in zip(row[::2], row[1::2], strict=True)]
        return join(row[0], last.get())

    def change(self, source: Region, target: Region, value: Callable[[Value, Callable[[Region], Value]], Value]) -> None:
        """Each element of the source to the target as `value`, which is given a way to read other rows at the same place."""
        code = self.code
        with code.each(0, self.bulk, LANES) as i:
            at = i << 2
            code.store(value(self._eight(at, source), partial(self._eight, at)), target, at)
        with code.each(self.bulk, self.count) as i:
            at = i << 2
            code.store(code.pick(value(self._one(at, source), partial(self._one, at)), 0), target, at)

    def _eight(self, at: Value, row: Region) -> Value:
        return self.code.load(FLOATS, row, at)

    def _one(self, at: Value, row: Region) -> Value:
        return self.code.splat(self.code.load(f32, row, at), LANES)


def _add(a: Value, b: Value) -> Value:
    return a + b


def _softmax(rows: _Rows) -> None:
    """exp(x - max) / sum."""
    code = rows.code
    with code.each(rows.frame.begin, rows.frame.end) as row:
        source, target = rows.x + row * rows.step_x, rows.out + row * rows.step_out
        top = code.splat(rows.fold(source, float("-inf"), lambda a, b: code.greatest(b, a), lambda x: x), LANES)
        rows.change(source, target, lambda x, _: exp(code, x - top))
        total = code.splat(rows.fold(target, 0.0, _add, lambda x: x), LANES)
        rows.change(target, target, lambda x, _: x / total)
    code.finish()


def _layer_norm(rows: _Rows) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias (arXiv:1607.06450)."""
    code = rows.code
    scale, bias, epsilon = rows.frame.buffer("scale"), rows.frame.buffer("bias"), rows.frame.real("epsilon")
    count = code.signed(rows.count, f32)
    with code.each(rows.frame.begin, rows.frame.end) as row:
        source, target = rows.x + row * rows.step_x, rows.out + row * rows.step_out
        mean = code.splat(rows.fold(source, 0.0, _add, lambda x: x) / count, LANES)
        variance = rows.fold(source, 0.0, _add, lambda x: (x - mean) * (x - mean)) / count
        spread = code.splat(code.call("llvm.sqrt.f32", f32, variance + epsilon), LANES)
        rows.change(source, target, lambda x, read: (x - mean) / spread * read(scale) + read(bias))
    code.finish()


def _arg_max(rows: _Rows) -> None:
    code = rows.code
    with code.each(rows.frame.begin, rows.frame.end) as row:
        source = rows.x + row * rows.step_x
        most, place = code.variable(code.load(f32, source), f32), code.variable(0)
        with code.each(1, rows.count) as i:
            value = code.load(f32, source, i << 2)
            with code.when(value > most.get()):
                most.set(value)
                place.set(i)
        code.store(place.get(), rows.out, row * rows.step_out)
    code.finish()


FORMS: dict[str, Callable[[_Rows], None]] = {"softmax_f32": _softmax, "layer_norm_f32": _layer_norm, "arg_max_f32": _arg_max}
