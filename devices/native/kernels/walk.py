"""Running many kernels without the interpreter in between: lists of calls, and rows that threads share out among themselves."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from devices.native.isa import Isa
from devices.native.kernels.catalogue import CALL_WORDS, LINE
from devices.native.kernels.emit import Code, Region, Value, Variable, i64
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import ARGUMENTS, Kernel

SPINS = 2000
"""Looks at a counter before a thread gives way: some tens of microseconds, as long as a small layer."""

KERNEL = ir.FunctionType(ir.VoidType(), [i64] * len(ARGUMENTS))


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    frame = Frame(module, isa, kernel, checked=checked)
    (_walk if kernel.variant == ("walk",) else _share)(frame)


def go_through(code: Code, calls: Region, begin: Value, end: Value, scratch: Value) -> None:
    """The calls from … to of a list."""
    with code.each(begin, end) as number:
        function, words, first, last = (code.load(i64, calls, number * (8 * CALL_WORDS) + 8 * i, align=8) for i in range(CALL_WORDS))
        _call(code, function, words, first, last, scratch)


def relax(frame: Frame) -> None:
    """Tells the core that it is waiting."""
    code = frame.code
    if frame.isa.triple.startswith("x86"):
        code.call("llvm.x86.sse2.pause", ir.VoidType())
    else:
        code.call("llvm.aarch64.hint", ir.VoidType(), code.const(ir.IntType(32), 1))


def give_way(frame: Frame, looks: Variable) -> None:
    """One more look that found nothing new; after many of them others get the core."""
    code, function = frame.code, frame.number("give_way")
    relax(frame)
    looks.set(looks.get() + 1)
    with code.when((looks.get() > SPINS) & function.differs(0)):
        code.builder.call(code.builder.inttoptr(function.raw, ir.FunctionType(ir.VoidType(), []).as_pointer()), [])


def atomic(code: Code, place: Region, offset: Value | int = 0) -> Any:
    """Where an int64 lies that several threads read and write."""
    return code.builder.inttoptr((place + offset).at.raw, i64.as_pointer())


def acquire(code: Code, pointer: Any) -> Value:
    """The int64 there, and all that was written before it."""
    return Value(code, code.builder.load_atomic(pointer, "acquire", 8, typ=i64))


def _call(code: Code, function: Value, words: Value, begin: Value, end: Value, scratch: Value) -> None:
    pointer = code.builder.inttoptr(function.raw, KERNEL.as_pointer())
    code.builder.call(pointer, [value.raw for value in (words, begin, end, scratch)])


def _walk(frame: Frame) -> None:
    code = frame.code
    calls = code.region(code.arguments["words"], frame.end * (8 * CALL_WORDS))
    go_through(code, calls, frame.begin, frame.end, code.arguments["scratch"])
    code.finish()


def _share(frame: Frame) -> None:
    """Takes rows while there are any, first of the thread's own part, then of the others'; then waits until all are done.

    Counters only grow: each round takes as many rows as there are. So nothing has to be reset between rounds, a thread that comes late
    finds nothing left and goes on, as does one that is still in an earlier round: nobody ever waits for a thread that has no rows in hand.
    """
    code, builder = frame.code, frame.code.builder
    state, turn = frame.buffer("state"), code.load(i64, frame.buffer("round"), align=8)
    rows, grain, thread, threads = (frame.number(name) for name in ("rows", "grain", "thread", "threads"))
    grains = (rows + grain - 1) // grain
    done, mine, looks = atomic(code, state), code.variable(0), code.variable(0)

    def edge(part: Value) -> Value:
        """Where the rows of a part begin: whole grains, so that a thread finds in its caches what it wrote in the call before."""
        return code.least(grains * part // threads * grain, rows)

    with code.each(0, threads) as number:
        part = thread + number
        part = code.select(part >= threads, part - threads, part)
        begin, end = edge(part), edge(part + 1)
        taken = atomic(code, state, (part + 1) * LINE)
        look, some, work, none = (code.block(name) for name in ("look", "some", "work", "none"))
        builder.branch(look)
        builder.position_at_end(look)
        before = acquire(code, taken)
        left = turn * (end - begin) - before
        builder.cbranch((left > 0).raw, some, none)
        builder.position_at_end(some)
        # Half of what is left: few claims, and whoever is done first can take over some of it up to the end.
        count = code.least(code.greatest(left // (grain * 2), 1) * grain, left)
        swapped = builder.cmpxchg(taken, before.raw, (before + count).raw, "acq_rel", "acquire")
        builder.cbranch(builder.extract_value(swapped, 1), work, look)
        builder.position_at_end(work)
        first = end - left
        _call(code, frame.number("function"), frame.number("inner"), first, first + count, code.arguments["scratch"])
        mine.set(mine.get() + count)
        builder.branch(look)
        builder.position_at_end(none)

    wait, again, leave = (code.block(name) for name in ("wait", "again", "leave"))
    with code.when(mine.get() > 0):
        builder.atomic_rmw("add", done, mine.get().raw, "acq_rel")
    builder.branch(wait)
    builder.position_at_end(wait)
    builder.cbranch((acquire(code, done) >= turn * rows).raw, leave, again)
    builder.position_at_end(again)
    give_way(frame, looks)
    builder.branch(wait)
    builder.position_at_end(leave)
    code.finish()
