"""A program, and the file it lies in: whole numbers only, little endian, of bounded size, checked before anything is taken from it.

    header   magic with version, sha256 of all after it, and the counts below
    ports    inputs, then outputs: dtype, rank, shape, and where the caller's values are floats the scale as mantissa * 2^exponent
    layers   name, operator, the instruction behind its last one, and where its result lies
    words    the instructions, WORDS int32 each
    data     the constants

Spaces are the memories that `Load` and `Store` name: 0 the constants, 1 the arena, then the inputs, then the outputs.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import frexp, ldexp, prod

import numpy as np

from devices.vpu.check import ProgramError, check
from devices.vpu.instructions import KINDS, MOST_INSTRUCTIONS, WORDS, Instruction
from devices.vpu.machine import MOST_LOCAL

__all__ = ["FORMAT", "Layer", "Port", "Program", "ProgramError", "pack", "unpack"]

FORMAT = 1
MAGIC = b"ACE vpu\n".ljust(15, b"\0") + bytes([FORMAT])
HEADER = struct.Struct("<16s32s7I")
PORT = struct.Struct("<BBBBiii8I")
LAYER = struct.Struct("<IIII")
CONSTANTS, ARENA = 0, 1
MOST_PORTS, MOST_LAYERS = 256, 2**16
MOST_BYTES = 2**31 - 1
MOST_NAME = 255
DTYPES = ("uint8", "int8", "float32")
MANTISSA_BITS = 24


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the caller. With `scale` its values are float32, which whoever calls converts: one stands for
    (stored - zero) * mantissa * 2^exponent, stored as uint8 or int8. The program sees one byte a value."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: tuple[int, int] | None = None
    zero: int = 0
    stored: str = "uint8"

    @property
    def nbytes(self) -> int:
        return prod(self.shape)

    @property
    def real_scale(self) -> float:
        mantissa, exponent = self.scale or (1, 0)
        return ldexp(mantissa, exponent)


def whole_scale(scale: float) -> tuple[int, int]:
    """A float32 as (mantissa, exponent), exactly."""
    fraction, exponent = frexp(scale)
    return int(fraction * 2**MANTISSA_BITS), exponent - MANTISSA_BITS


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of the model: its instructions end before `end`; its result is `nbytes` bytes of a space."""

    name: str
    operator: str
    end: int
    space: int
    address: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Program:
    """What a machine with this local memory runs. Raises ProgramError for instructions that `check` refuses."""

    local_bytes: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[Layer, ...]
    instructions: tuple[Instruction, ...]
    constants: np.ndarray = field(repr=False)
    arena_bytes: int

    def __post_init__(self) -> None:
        self.constants.flags.writeable = False
        sizes = self.space_bytes
        if not 0 < self.local_bytes <= MOST_LOCAL or max(sizes) > MOST_BYTES or sum(sizes) > MOST_BYTES:
            raise ProgramError(
                f"expected at most {MOST_LOCAL} bytes of local and {MOST_BYTES} of other memory, got {self.local_bytes}, {sizes}"
            )
        counts = len(self.instructions), len(self.inputs) + len(self.outputs), len(self.layers)
        if any(got > most for got, most in zip(counts, (MOST_INSTRUCTIONS, MOST_PORTS, MOST_LAYERS), strict=True)):
            raise ProgramError(f"expected at most {MOST_INSTRUCTIONS} instructions, {MOST_PORTS} ports, {MOST_LAYERS} layers, got {counts}")
        before = 0
        for layer in self.layers:
            if not before <= layer.end <= len(self.instructions) or not 0 <= layer.space < len(sizes):
                raise ProgramError(f"expected layers in the order of their instructions, got {layer}")
            if not 0 <= layer.address <= layer.address + layer.nbytes <= sizes[layer.space]:
                raise ProgramError(f"expected a result inside of its space, got {layer}")
            before = layer.end
        if before != len(self.instructions):
            raise ProgramError(f"expected layers up to instruction {len(self.instructions)}, got them up to {before}")
        check(self)

    @property
    def space_bytes(self) -> list[int]:
        return [self.constants.nbytes, self.arena_bytes, *(port.nbytes for port in (*self.inputs, *self.outputs))]


def pack(program: Program) -> bytes:
    """The file's content."""
    words = np.zeros((len(program.instructions), WORDS), "<i4")
    for row, instruction in zip(words, program.instructions, strict=True):
        row[0] = KINDS.index(type(instruction)) + 1
        row[1 : 1 + len(instruction)] = instruction
    ports = b"".join(map(_port_bytes, (*program.inputs, *program.outputs)))
    layers = b"".join(map(_layer_bytes, program.layers))
    body = ports + layers + words.tobytes() + program.constants.tobytes()
    counts = (
        len(program.inputs), len(program.outputs), len(program.layers), len(words), program.constants.nbytes, program.arena_bytes,
        program.local_bytes,
    )  # fmt: skip
    rest = HEADER.pack(MAGIC, bytes(32), *counts)[48:] + body
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack(content: bytes) -> Program:
    """The program of a file's content. Raises ProgramError."""
    if len(content) < HEADER.size or content[: len(MAGIC)] != MAGIC:
        raise ProgramError(f"expected a file that begins with {MAGIC!r}, got {content[: len(MAGIC)]!r}")
    _, digest, inputs, outputs, layers, instructions, constants, arena, local = HEADER.unpack_from(content)
    if digest != (got := hashlib.sha256(memoryview(content)[48:]).digest()):
        raise ProgramError(f"expected content with sha256 {digest.hex()[:16]}…, got {got.hex()[:16]}…")
    if inputs + outputs > MOST_PORTS or layers > MOST_LAYERS or instructions > MOST_INSTRUCTIONS or max(constants, arena) > MOST_BYTES:
        raise ProgramError(
            f"expected fewer ports, layers, instructions or bytes, got {(inputs, outputs, layers, instructions, constants, arena)}"
        )
    reader = _Reader(content, HEADER.size)
    ports = [reader.port() for _ in range(inputs + outputs)]
    told = tuple(reader.layer() for _ in range(layers))
    words = np.frombuffer(reader.take(instructions * WORDS * 4), "<i4").reshape(instructions, WORDS)
    data = np.frombuffer(reader.take(constants), np.uint8)
    if reader.at != len(content):
        raise ProgramError(f"expected {reader.at} bytes, got {len(content)}")
    return Program(local, tuple(ports[:inputs]), tuple(ports[inputs:]), told, tuple(_instructions(words)), data, arena)


def _instructions(words: np.ndarray) -> Iterator[Instruction]:
    for number, (code, *fields) in enumerate(words.tolist()):
        if not 1 <= code <= len(KINDS):
            raise ProgramError(f"instruction {number}: expected an operation from 1 to {len(KINDS)}, got {code}")
        kind = KINDS[code - 1]
        count = len(kind._fields)
        if any(fields[count:]):
            raise ProgramError(f"instruction {number} ({kind.__name__}): expected zeros behind its {count} fields, got {fields[count:]}")
        yield kind(*fields[:count])


def _port_bytes(port: Port) -> bytes:
    mantissa, exponent = port.scale or (0, 0)
    shape = (*port.shape, *[0] * (8 - len(port.shape)))
    packed = PORT.pack(DTYPES.index(port.dtype), len(port.shape), DTYPES.index(port.stored), 0, mantissa, exponent, port.zero, *shape)
    return packed + _text_bytes(port.name)


def _layer_bytes(layer: Layer) -> bytes:
    return LAYER.pack(layer.end, layer.space, layer.address, layer.nbytes) + _text_bytes(layer.name) + _text_bytes(layer.operator)


def _text_bytes(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > MOST_NAME:
        encoded = encoded[: MOST_NAME - 3].decode(errors="ignore").encode() + "…".encode()
    return bytes([len(encoded)]) + encoded


class _Reader:
    """Takes parts from the content in their order."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def take(self, count: int) -> bytes:
        if count > len(self.content) - self.at:
            raise ProgramError(f"expected {count} more bytes at {self.at}, got {len(self.content) - self.at}")
        self.at += count
        return self.content[self.at - count : self.at]

    def text(self) -> str:
        try:
            return self.take(self.take(1)[0]).decode()
        except UnicodeDecodeError as error:
            raise ProgramError(f"expected a name in UTF-8, got {error.object!r}") from None

    def port(self) -> Port:
        dtype, rank, stored, _, mantissa, exponent, zero, *shape = PORT.unpack(self.take(PORT.size))
        if dtype >= len(DTYPES) or stored > 1 or rank > 8 or not 0 < prod(shape[:rank]) <= MOST_BYTES or any(shape[rank:]):
            raise ProgramError(f"expected a dtype of {', '.join(DTYPES)} and at most 8 sizes, got {dtype}, {stored}, {rank}: {shape}")
        scaled = DTYPES[dtype] == "float32"
        if (scaled and not (0 < mantissa < 2**MANTISSA_BITS and -256 < exponent < 256)) or not -128 <= zero <= 255:
            raise ProgramError(f"expected a scale of {MANTISSA_BITS} bits and a zero point of 8, got {mantissa} * 2^{exponent} and {zero}")
        return Port(self.text(), DTYPES[dtype], tuple(shape[:rank]), (mantissa, exponent) if scaled else None, zero, DTYPES[stored])

    def layer(self) -> Layer:
        end, space, address, nbytes = LAYER.unpack(self.take(LAYER.size))
        return Layer(self.text(), self.text(), end, space, address, nbytes)
