# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
"""Words that two processes share: each has one writer, and what was written before a word is seen by whoever sees the word."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from devices.kernels.source.memory import load_i64, store_i64
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
def observe_short(typingctx: Any, address: Any, index: Any) -> Any:
    """int32 at `address` + 4 `index` (acquire)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        short = ir.IntType(32)
        place = builder.add(args[0], builder.shl(args[1], ir.Constant(WORD, 2)))
        return builder.load_atomic(builder.inttoptr(place, short.as_pointer()), "acquire", 4, typ=short)

    return types.int32(types.int64, types.int64), codegen


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
def open_change(words):
    """The ledger's change begins: who reads its words waits until it ends."""
    store_i64(words, 0, load_i64(words, 0) + 1)
    _fence()


@kernel
def close_change(words):
    """The ledger's change ends."""
    _store_release(words, load_i64(words, 0) + 1)


@kernel
def commit(journal, words, changes, count):
    """Stores values into words, all or none: the pairs (index, value) at `changes` are written to the journal first, and its first word
    says how many hold. Whoever dies in between leaves a journal that says what is missing, or one that says nothing.
    """
    for place in range(2 * count):
        store_i64(journal, 1 + place, load_i64(changes, place))
    _store_release(journal, count)
    for place in range(count):
        store_i64(words, load_i64(changes, 2 * place), load_i64(changes, 2 * place + 1))
    _store_release(journal, 0)
    return np.int64(0)


@kernel
def observe(word):
    """The word (acquire): what its writer wrote before it can be read now."""
    return _load_acquire(word)
