"""Comparisons, and the choice between two values: element by element, of any type that has so many bytes."""

from __future__ import annotations

from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.emit import Value, f32, i8, i32, i64
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel

SIGNS = {"less": "<", "lessequal": "<=", "greater": ">", "greaterequal": ">=", "equal": "=="}


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    form, what = kernel.variant
    frame = Frame(module, isa, kernel, checked=checked)
    if form == "where":
        _where(frame, int(what))
    else:
        _compare(frame, SIGNS[str(what)])


def _compare(frame: Frame, sign: str) -> None:
    code = frame.code
    (a, step_a), (b, step_b) = ((frame.buffer(name), frame.number(f"stride_{name}")) for name in "ab")
    out = frame.buffer("out")
    with code.each(frame.begin, frame.end) as i:
        first, second = code.load(f32, a, i * step_a), code.load(f32, b, i * step_b)
        holds = Value(code, code.builder.fcmp_ordered(sign, first.raw, second.raw))
        code.store(code.unsigned(holds, i8), out, i)
    code.finish()


def _where(frame: Frame, size: int) -> None:
    code, kind = frame.code, {1: i8, 4: i32, 8: i64}[size]
    names = ("condition", "yes", "no")
    (condition, step_condition), (yes, step_yes), (no, step_no) = ((frame.buffer(name), frame.number(f"stride_{name}")) for name in names)
    out = frame.buffer("out")
    with code.each(frame.begin, frame.end) as i:
        holds = code.load(i8, condition, i * step_condition).differs(0)
        chosen = code.select(holds, code.load(kind, yes, i * step_yes), code.load(kind, no, i * step_no))
        code.store(chosen, out, i * size)
    code.finish()
