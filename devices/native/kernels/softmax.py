"""Softmax of float32 rows: exp(x - max) / sum, one row after the other."""

from __future__ import annotations

from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.curves import exp
from devices.native.kernels.emit import Value, f32, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module. Sums are formed in the same order on every instruction set: four partial sums."""
    frame = Frame(module, isa, kernel, checked=checked)
    code = frame.code
    x, out, count = frame.buffer("x"), frame.buffer("out"), frame.number("channels")
    step_x, step_out = frame.number("stride_x"), frame.number("stride_out")
    bulk, four = count & -4, vector(f32, 4)
    with code.each(frame.begin, frame.end) as row:
        source, target = x + row * step_x, out + row * step_out
        highest = code.variable(float("-inf"), f32)
        with code.each(0, count) as i:
            highest.set(code.greatest(code.load(f32, source, i << 2), highest.get()))
        top = highest.get()
        sums, last = code.variable(0.0, four), code.variable(0.0, f32)
        with code.each(0, bulk, 4) as i:
            value = exp(code, code.load(four, source, i << 2) - code.splat(top, 4))
            code.store(value, target, i << 2)
            sums.set(sums.get() + value)
        with code.each(bulk, count) as i:
            single: Value = code.pick(exp(code, code.splat(code.load(f32, source, i << 2) - top, 4)), 0)
            code.store(single, target, i << 2)
            last.set(last.get() + single)
        partial = sums.get()
        total = (code.pick(partial, 0) + code.pick(partial, 1)) + (code.pick(partial, 2) + code.pick(partial, 3)) + last.get()
        with code.each(0, count) as i:
            code.store(code.load(f32, target, i << 2) / total, target, i << 2)
    code.finish()
