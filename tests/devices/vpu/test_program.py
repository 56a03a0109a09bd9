"""Program files: what is written is read again, and nothing else is."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.vpu.compiler import compile_model
from devices.vpu.emulator import Emulator
from devices.vpu.instructions import KINDS, WORDS, Add, Conv, Fill, Load, Lookup, Store
from devices.vpu.machine import Machine
from devices.vpu.program import HEADER, Layer, Port, Program, ProgramError, pack, unpack, whole_scale
from tests.devices.vpu.network import save_network


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return pack(compile_model(save_network(tmp_path_factory.mktemp("models") / "net.onnx"), {}, 4096))


def signed(body: bytes) -> bytes:
    """A file that was changed on purpose: its digest fits."""
    return body[:16] + hashlib.sha256(body[48:]).digest() + body[48:]


def test_it_is_read_as_it_was_written(network: Path) -> None:
    program = compile_model(network, {}, 4096)
    again = unpack(pack(program))
    for part in ("local_bytes", "inputs", "outputs", "layers", "instructions", "arena_bytes"):
        assert getattr(again, part) == getattr(program, part)
    assert np.array_equal(again.constants, program.constants)
    assert [layer.name for layer in again.layers if layer.operator != "Transpose"] == ["relu", "second", "sum", "mean", "scores"]


def test_compiling_gives_the_same_file(network: Path) -> None:
    assert pack(compile_model(network, {}, 4096)) == pack(compile_model(network, {}, 4096))


def test_it_holds_no_float(content: bytes) -> None:
    """Scales of the border are whole numbers too, and stand for the float32 exactly."""
    program = unpack(content)
    assert all(type(field) is int for instruction in program.instructions for field in instruction)
    assert program.inputs[0].scale is not None
    assert all(type(part) is int for part in program.inputs[0].scale)
    assert np.float32(program.inputs[0].real_scale) == np.float32(0.02)


@given(st.floats(2.0**-40, 2.0**40, width=32))
def test_scales_are_exact(scale: float) -> None:
    assert Port("x", "float32", (1,), whole_scale(scale)).real_scale == scale


@given(draw=st.data())
@settings(max_examples=150, deadline=None)
def test_changed_files_are_refused_or_run(draw: st.DataObject, content: bytes) -> None:
    """No word of a file can take the emulator out of its memory."""
    words = bytearray(content)
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(48, len(words) - 4) | st.integers(48, 400))
        value = draw.draw(st.sampled_from([0, 1, 255, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1))
        words[at : at + 4] = struct.pack("<I", value)
    try:
        program = unpack(signed(bytes(words)))
    except ProgramError:
        return
    if sum(program.space_bytes) < 2**20 and program.local_bytes < 2**20:
        Emulator(program, Machine()).run(
            [np.zeros(port.nbytes, np.uint8) for port in program.inputs], [np.zeros(port.nbytes, np.uint8) for port in program.outputs]
        )


def test_damage_is_seen(content: bytes) -> None:
    for cut in (0, 20, HEADER.size, len(content) - 1):
        with pytest.raises(ProgramError):
            unpack(content[:cut])
    with pytest.raises(ProgramError, match="expected a file that begins with"):
        unpack(b"ONNX" + content[4:])
    with pytest.raises(ProgramError, match="sha256"):
        unpack(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ProgramError, match="more bytes"):
        unpack(signed(content[:-10]))
    with pytest.raises(ProgramError, match=f"expected {len(content)} bytes, got {len(content) + 3}"):
        unpack(signed(content + b"abc"))


def test_numbers_are_bounded_before_memory_is_taken(content: bytes) -> None:
    for place in range(6):
        head = bytearray(content)
        head[48 + 4 * place : 52 + 4 * place] = struct.pack("<I", 2**32 - 1)
        with pytest.raises(ProgramError):
            unpack(signed(bytes(head)))


def one(instruction, local_bytes: int = 256, constants: int = 64) -> Program:
    """A program of one instruction."""
    return Program(
        local_bytes, (Port("x", "uint8", (64,)),), (Port("y", "uint8", (64,)),), (Layer("a", "Any", 1, 3, 0, 64),), (instruction,),
        np.zeros(constants, np.uint8), 128,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        (Load(0, 0, 0, 1, 1, 65, 0, 0, 1, 0, 0, 1), "inside the 64 of space 0"),
        (Load(0, 0, 250, 1, 1, 7, 0, 0, 1, 0, 0, 1), "inside the 256 of the local memory"),
        (Load(0, 0, 0, 1, 2, 4, 0, -4, 1, 0, 4, 1), "got -4 to 4"),
        (Load(9, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1), "space: expected 0 to 3, got 9"),
        (Load(0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1), "counts of at least 1"),
        (Load(0, 0, 0, 1, 2, 4, 0, 4, 1, 0, 3, 1), "write no byte twice"),
        (Store(0, 0, 0, 1, 1, 4, 0, 0, 1, 0, 0, 1), "a space that can be written, got 0"),
        (Store(2, 0, 0, 1, 1, 4, 0, 0, 1, 0, 0, 1), "a space that can be written, got 2"),
        (Store(1, 0, 0, 1, 2, 4, 0, 0, 1, 0, 0, 1), "write no byte twice"),
        (Fill(0, 0, 7), "at least one byte"),
        (Fill(0, 257, 7), "inside the 256"),
        (Fill(0, 1, 256), "value: expected 0 to 255"),
        (Lookup(0, 0, 0, 4), "inside the 256 of the local memory, got 0 to 256|apart from its operands"),
        (Add(0, 8, 4, 1, 1, 8, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 255), "apart from its operands"),
        (Add(0, 8, 16, 1, 1, 8, 0, 0, 1, 0, 0, 1, 0, 2**21, 0, 1, 1, 0, 0, 255), "multiplier_a"),
        (Add(0, 8, 16, 1, 1, 8, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 31, 0, 0, 255), "shift: expected 1 to 30"),
        (Add(0, 8, 16, 1, 1, 8, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 9, 8), "high: expected 9 to 255"),
        (Conv(0, 2, 2, 1, 16, 32, 64, 2, 2, 1, 2, 2, 1, 1, 1, 1, 0, 0, 0, 255), "height of at least 3"),
        (Conv(0, 2, 2, 1, 16, 34, 64, 1, 1, 1, 2, 2, 1, 1, 1, 1, 0, 0, 0, 255), "params at a multiple of 4"),
        (Conv(0, 2, 2, 1, 16, 32, 64, 1, 1, 2**30, 2, 2, 1, 1, 1, 1, 0, 0, 0, 255), "out_channels"),
        (Conv(0, 2, 0, 1, 16, 32, 64, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 255), "sizes and steps of at least 1"),
    ],
)
def test_what_no_instruction_may_do(instruction, said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        one(instruction)


def test_unknown_operations_and_fields(content: bytes) -> None:
    program = unpack(content)
    start = len(content) - program.constants.nbytes - 4 * WORDS * len(program.instructions)
    for place, value, said in ((0, len(KINDS) + 1, "expected an operation from 1 to 10, got 11"), (WORDS - 1, 5, "expected zeros behind")):
        words = bytearray(content)
        words[start + 4 * place : start + 4 * place + 4] = struct.pack("<i", value)
        with pytest.raises(ProgramError, match=said):
            unpack(signed(bytes(words)))


def test_work_is_bounded() -> None:
    made, taps = (2**11, 2**11), (2**10, 2**10)
    step = Conv(0, 2**12, 2**12, 1, 2**24, 2**25, 2**25 + 16, *made, 1, *taps, 1, 1, 1, 1, 0, 0, 0, 255)
    with pytest.raises(ProgramError, match="expected at most 1099511627776 multiplications"):
        Program(2**26, (), (), (Layer("a", "Any", 1, 1, 0, 1),), (step,), np.zeros(0, np.uint8), 1)
