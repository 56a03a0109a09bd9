"""A program file is taken whole or refused: no damage and no lie in it leads to anything but an ImageError."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.native import image as images
from devices.native import operators as ops
from devices.native.assemble import assemble
from devices.native.image import HEADER, ImageError, image, open_image
from devices.native.importer.builder import Builder
from devices.native.ir import Quantization, Type
from devices.native.isa import best
from devices.native.kernels import ensure, library
from devices.native.lower import lower
from devices.native.machine import Machine
from devices.native.passes import optimize


def content() -> bytes:
    """A product, a step that only the reference does, and a sum, over ten rows."""
    b = Builder()
    random = np.random.default_rng(0)
    x = b.input("x", Type("float32", (10, 7)))
    product = b.add(ops.Dense(), x, b.constant(random.standard_normal((7, 20)).astype(np.float32)), b.constant(np.ones(20, np.float32)))
    inner = b.add(ops.Unary("sin"), product)
    quantized = b.add(ops.Quantize(Quantization((0.1,), (3,))), inner)
    return assemble(lower(optimize(b.graph([("y", b.add(ops.Binary("add"), inner, product)), ("q", quantized)]))), best())


CONTENT = content()


def apart(data: bytes = CONTENT) -> tuple[dict[str, Any], bytearray]:
    """Head and whole of a file."""
    _, _, head_bytes, _ = HEADER.unpack(data[: HEADER.size])
    return json.loads(data[HEADER.size : HEADER.size + head_bytes]), bytearray(data)


def signed(head: dict[str, Any], data: bytearray) -> bytes:
    """The file with this head and the digest that it then should have."""
    text = json.dumps(head, separators=(",", ":")).encode()
    data[HEADER.size : HEADER.size + len(text)] = text
    body = bytes(data[HEADER.size :])
    return HEADER.pack(images.MAGIC, hashlib.sha256(body).digest(), len(text), len(data)) + body


def test_what_was_written_is_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "x.program"
    path.write_bytes(CONTENT)
    ensure()
    x = np.random.default_rng(1).standard_normal((10, 7)).astype(np.float32)
    results = []
    for program in (image(CONTENT), open_image(path)):
        assert not program.data.flags.writeable
        assert (program.variants[1].interpreted, program.isa) == (1, best().name)
        outputs = [np.zeros(port.shape, port.dtype) for port in program.outputs]
        Machine(program, library()).run([x], outputs)
        results.append(outputs)
    assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))
    assert results[0][0].any()


def test_a_signed_copy_is_taken() -> None:
    assert signed(*apart()) == CONTENT


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(CONTENT) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(at: int, bit: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[at] ^= 1 << bit
    with pytest.raises(ImageError):
        image(bytes(damaged))


@pytest.mark.parametrize("size", [0, 1, HEADER.size - 1, HEADER.size, HEADER.size + 7, len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_length_is_found(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.program"
    path.write_bytes(CONTENT[:size].ljust(size, b"\0"))
    with pytest.raises(ImageError):
        open_image(path)


Change = Callable[[dict[str, Any]], Any]


def put(value: Any, *way: Any) -> Change:
    """Puts a value somewhere in the head."""

    def change(head: dict[str, Any]) -> None:
        place: Any = head
        for key in way[:-1]:
            place = place[key]
        place[way[-1]] = value

    return change


STEP = ("variants", 0, "parts", 1)
LIES: dict[str, Change] = {
    "isa": put("avx9000", "isa"),
    "unknown kernel": put("gemm_u9", "kernels", 0),
    "kernel that takes addresses": put("walk", "kernels", 0),
    "no kernels": put([], "kernels"),
    "shape": put([10, -7], "inputs", 0, "shape"),
    "huge shape": put([2**29, 2**29], "outputs", 0, "shape"),
    "smaller output": put([1, 20], "outputs", 0, "shape"),
    "smaller input": put([1, 1], "inputs", 0, "shape"),
    "dtype": put("object", "inputs", 0, "dtype"),
    "batch of nothing": put(0, "variants", 0, "items"),
    "items as text": put("1", "variants", 0, "items"),
    "arena": put(64, "variants", 0, "arena_bytes"),
    "huge arena": put(2**60, "variants", 0, "arena_bytes"),
    "scratch": put(1, "variants", 0, "scratch_bytes"),
    "parts": put([[0, 1]], "variants", 0, "parts"),
    "section that is none": put(99, "variants", 0, "words"),
    "sections swapped": put(2, "variants", 0, "words"),
    "section outside": put([2**40, 8], "sections", 0),
    "section too long": put([64, 2**40], "sections", 0),
    "section between": put([65, 8], "sections", 0),
    "unknown operator": put("Popen", *STEP, "op", "is"),
    "another kind": put("sinh", *STEP, "op", "kind"),
    "type": put([9, 20], *STEP, "output", "type", "shape"),
    "place outside": put(2**30, *STEP, "inputs", 0, "offset"),
    "place before": put(-64, *STEP, "inputs", 0, "offset"),
    "rows that overlap": put(1, *STEP, "inputs", 0, "stride"),
    "region": put(7, *STEP, "output", "region"),
    "no sections": put([], "sections"),
    "nothing": lambda head: [head.pop(key) for key in list(head) if key != "sections"],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_the_head_is_found(lie: str) -> None:
    head, data = apart()
    LIES[lie](head)
    with pytest.raises(ImageError):
        image(signed(head, data))


def words(name: str) -> tuple[int, int]:
    """Where a section of the variant lies."""
    head, _ = apart()
    offset, nbytes = head["sections"][head["variants"][0][name]]
    return offset, nbytes // 8


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [("calls", 0, 99), ("calls", 0, -1), ("calls", 1, -5), ("calls", 2, 3), ("calls", 3, 10**6), ("links", 0, 10**6), ("links", 0, 1),
     ("links", 1, 4), ("links", 2, 1), ("links", 3, 2**40), ("links", 3, -64), ("words", 0, 4096), ("words", 1, 2**40)],
)  # fmt: skip
def test_a_lie_in_the_numbers_is_found(name: str, column: int, value: int) -> None:
    head, data = apart()
    offset, _ = words(name)
    data[offset + 8 * column : offset + 8 * column + 8] = struct.pack("<q", value)
    with pytest.raises(ImageError):
        image(signed(head, data))


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(["calls", "links", "words"]), place=st.integers(0, 10**6), value=st.integers(-(2**63), 2**63 - 1))
def test_any_number_is_taken_or_refused(name: str, place: int, value: int) -> None:
    head, data = apart()
    offset, count = words(name)
    at = offset + 8 * (place % count)
    data[at : at + 8] = struct.pack("<q", value)
    try:
        taken = image(signed(head, data))
    except ImageError:
        return
    assert taken.variants[1].links[:, 1].max() < len(images.REGIONS)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_bytes_that_are_no_program(data: bytes) -> None:
    with pytest.raises(ImageError):
        image(data)
    head = HEADER.pack(images.MAGIC, hashlib.sha256(data).digest(), max(1, len(data)), HEADER.size + len(data))
    with pytest.raises(ImageError):
        image(head + data)
