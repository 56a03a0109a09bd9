# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""What kernels ask of the operating system, through the C library of the process that loads them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

INT, WORD = ir.IntType(32), ir.IntType(64)
CLOCK_MONOTONIC = 1


def _libc(module: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, arguments), name)


@intrinsic
def monotonic_ns(typingctx: Any) -> Any:
    """int64: what `time.monotonic_ns()` says (clock_gettime(2))."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        spec = builder.alloca(WORD, 2)
        clock = _libc(builder.module, "clock_gettime", INT, [INT, WORD.as_pointer()])
        builder.call(clock, [ir.Constant(INT, CLOCK_MONOTONIC), spec])
        seconds, rest = builder.load(spec), builder.load(builder.gep(spec, [ir.Constant(WORD, 1)]))
        return builder.add(builder.mul(seconds, ir.Constant(WORD, 1_000_000_000)), rest)

    return types.int64(), codegen


@intrinsic
def ring(typingctx: Any, descriptor: Any) -> Any:
    """Adds one to an eventfd (write(2)). One whose count is full has been rung already."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = builder.alloca(WORD)
        builder.store(ir.Constant(WORD, 1), one)
        write = _libc(builder.module, "write", WORD, [INT, WORD.as_pointer(), WORD])
        builder.call(write, [builder.trunc(args[0], INT), one, ir.Constant(WORD, 8)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def let_others_run(typingctx: Any) -> Any:
    """Who has been woken on this processor runs before we go on (sched_yield(2))."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.call(_libc(builder.module, "sched_yield", INT, []), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def wait(typingctx: Any, epoll: Any, events: Any, most: Any, timeout_ms: Any) -> Any:
    """int64: how many events came (epoll_wait(2)), or -1. The interpreter, which must be held, is let go meanwhile."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        thing = ir.IntType(8).as_pointer()
        save = _libc(builder.module, "PyEval_SaveThread", thing, [])
        restore = _libc(builder.module, "PyEval_RestoreThread", ir.VoidType(), [thing])
        sleep = _libc(builder.module, "epoll_wait", INT, [INT, thing, INT, INT])
        epoll, events, most, timeout_ms = args
        numbers = [builder.trunc(one, INT) for one in (epoll, most, timeout_ms)]
        state = builder.call(save, [])
        found = builder.call(sleep, [numbers[0], builder.inttoptr(events, thing), numbers[1], numbers[2]])
        builder.call(restore, [state])
        return builder.sext(found, WORD)

    return types.int64(types.int64, types.int64, types.int64, types.int64), codegen
