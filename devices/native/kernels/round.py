"""Rounds of a team: one thread opens them, the others wait for them, parked or, while one is about to be opened, awake."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from devices.native.isa import Isa
from devices.native.kernels.catalogue import CALL_WORDS, COMING, LINE, OVER, PLACE_WORDS
from devices.native.kernels.emit import Region, Value, i32, i64
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.walk import SPINS, acquire, atomic, give_way, go_through

PATIENCE = 10 * SPINS
"""Looks after which a thread that was woken for a round that does not come is parked again: a millisecond at most."""

SEMAPHORE = ir.FunctionType(i32, [i64])


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    frame = Frame(module, isa, kernel, checked=checked)
    (_lead if kernel.variant == ("lead",) else _attend)(frame)


def _semaphore(frame: Frame, function: str, post: Region, thread: Value) -> None:
    builder = frame.code.builder
    builder.call(builder.inttoptr(frame.number(function).raw, SEMAPHORE.as_pointer()), [(post + thread * LINE).at.raw])


def _take_part(frame: Frame, team: Region, thread: Value, turn: Value) -> None:
    """Goes through the thread's list. The round is kept aside: the next one may be opened before a late thread has seen the end of this."""
    code = frame.code
    place = team + (thread + 1) * LINE
    calls, count, scratch, _ = (code.load(i64, place, 8 * i, align=8) for i in range(PLACE_WORDS))
    code.store(turn, place, 8 * (PLACE_WORDS - 1), align=8)
    go_through(code, code.region(calls, count * (8 * CALL_WORDS)), code.const(i64, 0), count, scratch)


def _lead(frame: Frame) -> None:
    code, builder = frame.code, frame.code.builder
    post, team, nobody = frame.buffer("post"), frame.buffer("team"), code.const(i64, 0)
    turn = code.load(i64, team, align=8) + 1
    builder.store_atomic(turn.raw, atomic(code, team), "release", 8)
    builder.store_atomic(team.at.raw, atomic(code, post), "release", 8)
    with code.each(1, frame.number("helpers") + 1) as helper:
        _semaphore(frame, "wake", post, helper)
    _take_part(frame, team, nobody, turn)
    code.finish()


def _attend(frame: Frame) -> None:
    code, builder = frame.code, frame.code.builder
    post, thread = frame.buffer("post"), frame.number("thread")
    looks = code.variable(0)
    park, look, ask, join, idle, stay, leave = (code.block(name) for name in ("park", "look", "ask", "join", "idle", "stay", "leave"))
    builder.branch(park)
    builder.position_at_end(park)
    _semaphore(frame, "wait", post, thread)
    looks.set(code.const(i64, 0))
    builder.branch(look)
    builder.position_at_end(look)
    state, at = acquire(code, atomic(code, post, 8)), acquire(code, atomic(code, post))
    builder.cbranch(state.equals(OVER).raw, leave, ask)
    builder.position_at_end(ask)
    known = code.block("known")
    builder.cbranch(at.differs(0).raw, known, idle)
    builder.position_at_end(known)
    team = code.region(at, code.const(i64, 0) + (thread + 2) * LINE)
    turn = acquire(code, atomic(code, team))
    seen = code.load(i64, team, (thread + 1) * LINE + 8 * (PLACE_WORDS - 1), align=8)
    builder.cbranch(turn.differs(seen).raw, join, idle)
    builder.position_at_end(join)
    _take_part(frame, team, thread, turn)
    looks.set(code.const(i64, 0))
    builder.branch(look)
    builder.position_at_end(idle)
    builder.cbranch((state.equals(COMING) & (looks.get() < PATIENCE)).raw, stay, park)
    builder.position_at_end(stay)
    give_way(frame, looks)
    builder.branch(look)
    builder.position_at_end(leave)
    code.finish()
