"""Running many kernels without the interpreter in between: lists of calls, and rows that threads share out among themselves."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from devices.native.isa import Isa
from devices.native.kernels.catalogue import CALL_WORDS, LINE
from devices.native.kernels.emit import Code, Value, Variable, i64
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import ARGUMENTS, Kernel

SPINS = 2000
"""Looks at a counter before a thread gives way: some tens of microseconds, as long as a small layer."""

KERNEL = ir.FunctionType(ir.VoidType(), [i64] * len(ARGUMENTS))


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    frame = Frame(module, isa, kernel, checked=checked)
    (_walk if kernel.variant == ("walk",) else _share)(frame)


def _call(code: Code, function: Value, words: Value, begin: Value, end: Value) -> None:
    pointer = code.builder.inttoptr(function.raw, KERNEL.as_pointer())
    code.builder.call(pointer, [value.raw for value in (words, begin, end, code.arguments["scratch"])])


def _walk(frame: Frame) -> None:
    code = frame.code
    calls = code.region(code.arguments["words"], frame.end * (8 * CALL_WORDS))
    with code.each(frame.begin, frame.end) as number:
        _call(code, *(code.load(i64, calls, number * (8 * CALL_WORDS) + 8 * i, align=8) for i in range(CALL_WORDS)))
    code.finish()


def _share(frame: Frame) -> None:
    """Takes chunks while there are any, then waits until all are done. Both counters carry the round in their upper half.

    A thread that comes late finds nothing left and goes on; one that is still in an earlier round sees that and leaves, so that nobody
    ever waits for a thread that has no chunk in hand.
    """
    code, builder = frame.code, frame.code.builder
    state, turn = frame.buffer("state"), code.load(i64, frame.buffer("round"), align=8)
    rows, chunk, give_way = (frame.number(name) for name in ("rows", "chunk", "give_way"))
    chunks = (rows + chunk - 1) // chunk
    following, done = (builder.inttoptr((state + place).at.raw, i64.as_pointer()) for place in (0, LINE))
    looks: Variable = code.variable(0)
    take, current, claim, work, wait, look, leave = (
        code.block(name) for name in ("take", "current", "claim", "work", "wait", "look", "leave")
    )

    builder.branch(take)
    builder.position_at_end(take)
    now = Value(code, builder.load_atomic(following, "acquire", 8, typ=i64))
    builder.cbranch((now >> 32).equals(turn).raw, current, leave)
    builder.position_at_end(current)
    index = now & 0xFFFFFFFF
    builder.cbranch((index < chunks).raw, claim, wait)
    builder.position_at_end(claim)
    swapped = builder.cmpxchg(following, now.raw, (now + 1).raw, "acq_rel", "acquire")
    builder.cbranch(builder.extract_value(swapped, 1), work, take)
    builder.position_at_end(work)
    first = index * chunk
    _call(code, frame.number("function"), frame.number("inner"), first, code.least(first + chunk, rows))
    builder.atomic_rmw("add", done, i64(1), "acq_rel")
    builder.branch(take)

    builder.position_at_end(wait)
    finished = Value(code, builder.load_atomic(done, "acquire", 8, typ=i64))
    over = finished.equals((turn << 32) + chunks) | (finished >> 32).differs(turn)
    builder.cbranch(over.raw, leave, look)
    builder.position_at_end(look)
    if frame.isa.triple.startswith("x86"):
        code.call("llvm.x86.sse2.pause", ir.VoidType())
    else:
        code.call("llvm.aarch64.hint", ir.VoidType(), code.const(ir.IntType(32), 1))
    looks.set(looks.get() + 1)
    with code.when((looks.get() > SPINS) & give_way.differs(0)):
        builder.call(builder.inttoptr(give_way.raw, ir.FunctionType(ir.VoidType(), []).as_pointer()), [])
    builder.branch(wait)
    builder.position_at_end(leave)
    code.finish()
