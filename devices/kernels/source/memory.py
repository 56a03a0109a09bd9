"""Loads and stores at raw addresses: what numba arrays would do, without shapes, bounds, wrap-around or reference counts."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _pointer(builder: Any, address: Any, index: Any, kind: ir.Type) -> Any:
    base = builder.inttoptr(address, kind.as_pointer())
    return builder.gep(base, [index], inbounds=True, source_etype=kind)


def _load(kind: types.Type, native: ir.Type, align: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def load(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_pointer(builder, args[0], args[1], native), align=align, typ=native)

        return kind(types.int64, types.int64), codegen

    return load


def _store(kind: types.Type, native: ir.Type, align: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def store(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _pointer(builder, args[0], args[1], native), align=align)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, kind), codegen

    return store


load_u8 = _load(types.uint8, ir.IntType(8), 1)
load_u16 = _load(types.uint16, ir.IntType(16), 1)
load_i32 = _load(types.int32, ir.IntType(32), 4)
load_i64 = _load(types.int64, ir.IntType(64), 8)
load_f32 = _load(types.float32, ir.FloatType(), 4)
load_f64 = _load(types.float64, ir.DoubleType(), 8)
store_u8 = _store(types.uint8, ir.IntType(8), 1)
store_u16 = _store(types.uint16, ir.IntType(16), 1)
store_i32 = _store(types.int32, ir.IntType(32), 4)
store_f32 = _store(types.float32, ir.FloatType(), 4)
