"""What numba lacks: loads and stores at raw addresses (no shapes, bounds, wrap-around or reference counts), and a narrow product."""

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


@intrinsic  # type: ignore[untyped-decorator]
def load_word(typingctx: Any, address: Any, offset: Any) -> Any:
    """int32 of the four bytes at `address + offset` (the first one lowest: all CPUs that the kernels are built for are little-endian)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(builder, args[0], args[1], ir.IntType(8)), align=1, typ=ir.IntType(32))

    return types.int32(types.int64, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def settle(typingctx: Any, a: Any, b: Any, before: Any, after: Any) -> Any:
    """uint8 ((a * before >> 16) + (b * after >> 16) + 2) >> 2 of int16: numba's own arithmetic would take 64 bits for each step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        short, wide = ir.IntType(16), ir.IntType(32)
        a, b, before, after = (builder.sext(arg, wide) for arg in args)
        upper, lower = (
            builder.trunc(builder.ashr(builder.mul(sample, weight), ir.Constant(wide, 16)), short)
            for sample, weight in ((a, before), (b, after))
        )
        total = builder.add(builder.add(upper, lower), ir.Constant(short, 2))
        return builder.trunc(builder.lshr(total, ir.Constant(short, 2)), ir.IntType(8))

    return types.uint8(types.int16, types.int16, types.int16, types.int16), codegen


load_u8 = _load(types.uint8, ir.IntType(8), 1)
load_u16 = _load(types.uint16, ir.IntType(16), 1)
load_i16 = _load(types.int16, ir.IntType(16), 2)
load_i32 = _load(types.int32, ir.IntType(32), 4)
load_i64 = _load(types.int64, ir.IntType(64), 8)
load_f32 = _load(types.float32, ir.FloatType(), 4)
load_f64 = _load(types.float64, ir.DoubleType(), 8)
store_u8 = _store(types.uint8, ir.IntType(8), 1)
store_u16 = _store(types.uint16, ir.IntType(16), 1)
store_i16 = _store(types.int16, ir.IntType(16), 2)
store_i32 = _store(types.int32, ir.IntType(32), 4)
store_i64 = _store(types.int64, ir.IntType(64), 8)
store_f32 = _store(types.float32, ir.FloatType(), 4)
