# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Words that two processes share: each has one writer, and what was written before a word is seen by whoever sees the word."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from devices.kernels.source.rows import kernel

WORD = ir.IntType(64)


@intrinsic
def _load_acquire(typingctx: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], WORD.as_pointer()), "acquire", 8, typ=WORD)

    return types.int64(types.int64), codegen


@intrinsic
def _store_release(typingctx: Any, address: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], builder.inttoptr(args[0], WORD.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _fence(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def publish(word, value, watched):
    """Stores `value` at `word` (release) and gives the word at `watched` as it stands after that.

    The fence between the two makes this the half of a handshake: of two processes that each publish one word and watch the other's, at
    least one sees what the other has published.
    """
    _store_release(word, value)
    _fence()
    return _load_acquire(watched)


@kernel
def observe(word):
    """The word (acquire): what its writer wrote before it can be read now."""
    return _load_acquire(word)
