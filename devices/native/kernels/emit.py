"""A small language over LLVM's IR: values with operators, variables, structured loops, and one checked way to memory.

Arithmetic on whole numbers is signed unless a method says otherwise. Addresses are 64-bit integers inside a `Region`, which knows where
its buffer begins and ends: every load and store of a kernel goes through `Code.load` and `Code.store`, and in a checked build both trap
(an illegal instruction) on an access outside the buffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from llvmlite import ir

from devices.native.isa import Isa
from devices.native.kernels.layout import OVER_READ

i1, i8, i16, i32, i64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
f32 = ir.FloatType()
Number: TypeAlias = "Value | int | float"


def vector(kind: Any, count: int) -> Any:
    """The vector type of `count` elements (the element type itself for one)."""
    return kind if count == 1 else ir.VectorType(kind, count)


def lanes(kind: Any) -> int:
    """Elements of a vector type, 1 for any other."""
    return int(kind.count) if isinstance(kind, ir.VectorType) else 1


def element(kind: Any) -> Any:
    """The type of a vector's elements, or the type itself."""
    return kind.element if isinstance(kind, ir.VectorType) else kind


def nbytes(kind: Any) -> int:
    """Bytes that a value of this type takes in memory."""
    return lanes(kind) * (4 if element(kind) is f32 else max(8, element(kind).width) // 8)


class Value:
    """A number or vector of the code being written; Python's operators write instructions."""

    def __init__(self, code: Code, raw: Any) -> None:
        self.code, self.raw = code, raw

    @property
    def type(self) -> Any:
        return self.raw.type

    def _two(self, other: Number, whole: str, floating: str = "") -> Value:
        right = self.code.const(self.type, other)
        name = floating if element(self.type) is f32 else whole
        return Value(self.code, getattr(self.code.builder, name)(self.raw, right.raw))

    def __add__(self, other: Number) -> Value:
        return self._two(other, "add", "fadd")

    def __sub__(self, other: Number) -> Value:
        return self._two(other, "sub", "fsub")

    def __mul__(self, other: Number) -> Value:
        return self._two(other, "mul", "fmul")

    def __truediv__(self, other: Number) -> Value:
        return self._two(other, "", "fdiv")

    def __floordiv__(self, other: Number) -> Value:
        """Unsigned division of whole numbers."""
        return self._two(other, "udiv")

    def __and__(self, other: Number) -> Value:
        return self._two(other, "and_")

    def __or__(self, other: Number) -> Value:
        return self._two(other, "or_")

    def __xor__(self, other: Number) -> Value:
        return self._two(other, "xor")

    def __lshift__(self, other: Number) -> Value:
        return self._two(other, "shl")

    def __rshift__(self, other: Number) -> Value:
        return self._two(other, "ashr")

    def _compare(self, sign: str, other: Number) -> Value:
        right = self.code.const(self.type, other)
        name = "fcmp_ordered" if element(self.type) is f32 else "icmp_signed"
        return Value(self.code, getattr(self.code.builder, name)(sign, self.raw, right.raw))

    def __lt__(self, other: Number) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Number) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Number) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Number) -> Value:
        return self._compare(">=", other)

    def equals(self, other: Number) -> Value:
        return self._compare("==", other)

    def differs(self, other: Number) -> Value:
        return self._compare("!=", other)


class Variable:
    """A value that changes; LLVM keeps it in a register."""

    def __init__(self, code: Code, start: Value) -> None:
        self.code = code
        with code.builder.goto_entry_block():
            self.slot = code.builder.alloca(start.type)
        self.type = start.type
        self.set(start)

    def get(self) -> Value:
        return Value(self.code, self.code.builder.load(self.slot, typ=self.type))

    def set(self, value: Value) -> None:
        self.code.builder.store(value.raw, self.slot)


@dataclass(frozen=True, slots=True)
class Region:
    """An address inside a buffer. `first` and `end` are the buffer's own, which checked builds hold accesses to."""

    at: Value
    first: Value
    end: Value

    def __add__(self, offset: Number) -> Region:
        return replace(self, at=self.at + offset)


class Code:
    """One function: `void name(int64 ARGUMENT…)`, exported unless `internal`. `checked` makes `load` and `store` trap outside buffers."""

    def __init__(
        self, module: Any, isa: Isa, name: str, arguments: Sequence[str], *, checked: bool = False, internal: bool = False
    ) -> None:
        self.module, self.isa, self.checked = module, isa, checked
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64] * len(arguments)), name)
        self.function.attributes.add("nounwind")
        if internal:
            self.function.linkage = "internal"
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._outside: Any = None
        self.arguments = {given: Value(self, raw) for given, raw in zip(arguments, self.function.args, strict=True)}

    def const(self, kind: Any, value: Any) -> Value:
        """A constant of this type: one number for all elements, or a sequence of them. A Value passes as it is."""
        if isinstance(value, Value):
            return value
        if isinstance(kind, ir.VectorType):
            values = list(value) if isinstance(value, Sequence) else [value] * kind.count
            return Value(self, ir.Constant(kind, [ir.Constant(kind.element, item) for item in values]))
        return Value(self, ir.Constant(kind, value))

    def variable(self, start: Number, kind: Any = i64) -> Variable:
        return Variable(self, self.const(kind, start))

    def call(self, name: str, result: Any, *values: Value, needs: str = "") -> Value:
        """An LLVM intrinsic. Raises IsaError where the instruction `needs` is not one of this instruction set."""
        if needs:
            self.isa.require(needs)
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(result, [value.type for value in values]), name)
        return Value(self, self.builder.call(function, [value.raw for value in values]))

    # Control

    def block(self, name: str) -> Any:
        return self.builder.append_basic_block(name)

    @contextmanager
    def each(self, start: Number, end: Number, step: Number = 1) -> Iterator[Value]:
        """A loop over start, start + step, … below end; the body may run no time at all."""
        counter = self.variable(start)
        body, leave = self.block("body"), self.block("leave")
        self.builder.cbranch((counter.get() < end).raw, body, leave)
        self.builder.position_at_end(body)
        now = counter.get()
        yield now
        following = now + step
        counter.set(following)
        self.builder.cbranch((following < end).raw, body, leave)
        self.builder.position_at_end(leave)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Runs the body where the condition holds."""
        with self.builder.if_then(condition.raw):
            yield

    @contextmanager
    def either(self, condition: Value) -> Iterator[tuple[Any, Any]]:
        """Gives two context managers, for the condition and for its opposite."""
        with self.builder.if_else(condition.raw) as branches:
            yield branches

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        return Value(self, self.builder.select(condition.raw, yes.raw, no.raw))

    def finish(self) -> None:
        self.builder.ret_void()

    # Memory

    def region(self, address: Value, size: Value) -> Region:
        """A buffer of `size` bytes."""
        return Region(address, address, address + size if self.checked else address)

    def load(self, kind: Any, place: Region, offset: Number = 0, *, over: int = 0, align: int = 1) -> Value:
        """The value of type `kind` at `place + offset` bytes. `over`: how far past the buffer's end it may reach (OVER_READ at most)."""
        if over > OVER_READ:
            raise ValueError(f"expected a read of at most {OVER_READ} bytes past the end, got {over}")
        pointer = self._pointer(kind, place, offset, over)
        return Value(self, self.builder.load(pointer, align=align, typ=kind))

    def store(self, value: Value, place: Region, offset: Number = 0, *, align: int = 1) -> None:
        self.builder.store(value.raw, self._pointer(value.type, place, offset, 0), align=align)

    def _pointer(self, kind: Any, place: Region, offset: Number, over: int) -> Any:
        address = place.at if isinstance(offset, int) and offset == 0 else place.at + offset
        if self.checked:
            inside = (address >= place.first) & (address + (nbytes(kind) - over) <= place.end)
            follow = self.block("inside")
            self.builder.cbranch(inside.raw, follow, self._trap())
            self.builder.position_at_end(follow)
        return self.builder.inttoptr(address.raw, kind.as_pointer())

    def _trap(self) -> Any:
        """The block that ends the process; one a function."""
        if self._outside is None:
            self._outside = self.block("outside")
            with self.builder.goto_block(self._outside):
                self.call("llvm.trap", ir.VoidType())
                self.builder.unreachable()
        return self._outside

    # Vectors

    def splat(self, value: Value, count: int) -> Value:
        """A vector with the value in each element."""
        if count == 1:
            return value
        kind = vector(value.type, count)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value.raw, ir.Constant(i32, 0))
        order = ir.Constant(vector(i32, count), [0] * count)
        return Value(self, self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), order))

    def shuffle(self, first: Value, second: Value, order: Sequence[int]) -> Value:
        """The elements of both vectors, in this order."""
        return Value(self, self.builder.shuffle_vector(first.raw, second.raw, ir.Constant(vector(i32, len(order)), list(order))))

    def pick(self, value: Value, index: int) -> Value:
        """One element."""
        return Value(self, self.builder.extract_element(value.raw, ir.Constant(i32, index)))

    def join(self, *parts: Value) -> Value:
        """Vectors of one type, one after the other (a power of two of them)."""
        row = list(parts)
        while len(row) > 1:
            count = 2 * lanes(row[0].type)
            row = [self.shuffle(a, b, range(count)) for a, b in zip(row[::2], row[1::2], strict=True)]
        return row[0]

    def part(self, value: Value, start: int, count: int) -> Value:
        return self.shuffle(value, value, range(start, start + count))

    def signed(self, value: Value, kind: Any) -> Value:
        """Whole numbers of another width (or float32), read as signed."""
        return self._cast(value, kind, "sext", "sitofp")

    def unsigned(self, value: Value, kind: Any) -> Value:
        """Whole numbers of another width (or float32), read as unsigned."""
        return self._cast(value, kind, "zext", "uitofp")

    def _cast(self, value: Value, kind: Any, wider: str, floating: str) -> Value:
        target = vector(kind, lanes(value.type))
        if kind is f32:
            return Value(self, getattr(self.builder, floating)(value.raw, target))
        change = wider if nbytes(target) > nbytes(value.type) or element(value.type) is i1 else "trunc"
        return Value(self, getattr(self.builder, change)(value.raw, target)) if target != value.type else value

    def bits(self, value: Value, kind: Any) -> Value:
        """The same bits as another type."""
        return Value(self, self.builder.bitcast(value.raw, kind))

    def least(self, a: Value, b: Number) -> Value:
        """The smaller one: signed whole numbers, or floats (where either is NaN: the first)."""
        return self._extreme(a, b, "smin", "<")

    def greatest(self, a: Value, b: Number) -> Value:
        return self._extreme(a, b, "smax", ">")

    def lower(self, a: Value, b: Number) -> Value:
        """The smaller one of unsigned whole numbers."""
        return self._extreme(a, b, "umin", "<")

    def higher(self, a: Value, b: Number) -> Value:
        return self._extreme(a, b, "umax", ">")

    def _extreme(self, a: Value, b: Number, name: str, sign: str) -> Value:
        b = self.const(a.type, b)
        if element(a.type) is f32:
            return self.select(b._compare(sign, a), b, a)
        return self.call(f"llvm.{name}.{suffix(a.type)}", a.type, a, b)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c of float32, rounded once where the instruction set can, otherwise twice."""
        if self.isa.dot == "generic":
            return a * b + c
        return self.call(f"llvm.fma.{suffix(a.type)}", a.type, a, b, c)

    def fused(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c of float32, rounded once everywhere; without the instruction by float64, where sums of near exponents are exact."""
        if self.isa.dot != "generic":
            return self.fma(a, b, c)
        double = vector(ir.DoubleType(), lanes(a.type))
        x, y, z = (self.builder.fpext(value.raw, double) for value in (a, b, c))
        return Value(self, self.builder.fptrunc(self.builder.fadd(self.builder.fmul(x, y), z), a.type))


def suffix(kind: Any) -> str:
    """How LLVM names overloads of intrinsics for this type: i32, v8i32, f32, v4f32."""
    name = "f32" if element(kind) is f32 else f"i{element(kind).width}"
    return f"v{lanes(kind)}{name}" if lanes(kind) > 1 else name
