"""Program -> the content of a program file: every step as calls of kernels with their words, weights packed, or as it is for the reference.

Done once, when a model is prepared.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from devices.native.arrays import SLACK, aligned, row_bytes, viewed
from devices.native.calls import Call, Context, Part, calls
from devices.native.image import ARENA, DATA, INPUT, OUTPUT, Image, image, written
from devices.native.ir import Type
from devices.native.isa import Isa
from devices.native.kernels.catalogue import catalogue
from devices.native.lower import Operand, Program, Step
from devices.native.passes.batch import batched
from devices.native.steps import Interpreted, Place, plain

BATCHES = (1, 4)
"""Numbers of items that programs with an open batch are made for; others are made of these."""

REGION = {"constants": DATA, "arena": ARENA, "input": INPUT, "output": OUTPUT}


def assemble(program: Program, isa: Isa) -> bytes:
    """The program file's content, for this instruction set. Raises GraphError where a batch needs more memory than a value may."""
    data = _Data(program.constants)
    sections: list[np.ndarray] = [np.empty(0, np.uint8)]
    names = {name: number for number, name in enumerate(catalogue(isa))}
    variants = []
    widths: dict[tuple[int, int], int] = {}
    for items in BATCHES if program.batch else BATCHES[:1]:
        variant, words, table, links = _Variant(program.at(items), isa, names, data, widths).made()
        numbers = range(len(sections), len(sections) + 3)
        sections += [words, table, links]
        variants.append({"items": items, **variant, **dict(zip(("words", "calls", "links"), numbers, strict=True))})
    sections[0] = data.block()
    # Only the kernels that are called are asked of the machine that runs it.
    used = sorted({int(kernel) for table in sections[2::3] for kernel in table[:, 0]})
    order = {kernel: number for number, kernel in enumerate(used)}
    for table in sections[2::3]:
        table[:, 0] = [order[kernel] for kernel in table[:, 0].tolist()]
    every = batched(program.graph)
    values = [value for _, value in program.graph.outputs]
    head = {
        "isa": isa.name,
        "kernels": [list(names)[kernel] for kernel in used],
        "inputs": [_port(name, told, name in program.graph.batch) for name, told in program.inputs],
        "outputs": [_port(name, told, value in every) for (name, told), value in zip(program.outputs, values, strict=True)],
        "data": 0,
        "variants": variants,
    }  # fmt: skip
    return written(head, sections)


def assembled(program: Program, isa: Isa) -> Image:
    """The program as it is read from its file."""
    return image(assemble(program, isa))


def _port(name: str, told: Type, batch: bool) -> dict[str, Any]:
    return {"name": name, "dtype": told.dtype, "shape": list(told.shape), "batched": batch}


class _Data:
    """Weights and tables, equal ones once, and rows of one byte (what lies around images) inside longer ones."""

    def __init__(self, constants: np.ndarray) -> None:
        self.constants = constants
        self._parts: list[bytes] = []
        self._known: dict[tuple[int, bytes], int] = {}
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._end = 0

    def add(self, content: bytes) -> int:
        """Where these bytes lie."""
        byte, uniform = content[:1], bool(content) and content.count(content[:1]) == len(content)
        if uniform and (row := self._rows.get(byte)) is not None and row[1] >= len(content):
            return row[0]
        key = len(content), hashlib.sha256(content).digest()
        if key not in self._known:
            self._known[key] = self._end
            self._parts.append(content.ljust(aligned(len(content)), b"\0"))
            self._end += len(self._parts[-1])
        if uniform:
            self._rows[byte] = self._known[key], len(content)
        return self._known[key]

    def constant(self, operand: Operand) -> int:
        """Where a constant of the program lies, rounded up as kernels see it."""
        return self.add(self.constants[operand.at : operand.at + aligned(operand.nbytes)].tobytes())

    def block(self) -> np.ndarray:
        return np.frombuffer(b"".join([*self._parts, bytes(SLACK)]), np.uint8)


class _Variant:
    """The calls of a program for one number of items."""

    def __init__(self, program: Program, isa: Isa, names: dict[str, int], data: _Data, widths: dict[tuple[int, int], int]) -> None:
        self.program, self.isa, self.names, self.data, self.widths = program, isa, names, data, widths
        self.kernels = catalogue(isa)
        self.words: list[np.ndarray] = []
        self.calls: list[tuple[int, int, int, int]] = []
        self.links: list[tuple[int, int, int, int]] = []
        self.scratch = self.end = 0

    def made(self) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
        """The head of the variant, its words, calls and links."""
        steps = self.program.steps
        context = Context(self.isa, lambda operand: viewed(self.program.constants, operand.at, operand.type), self.widths)
        found = calls(context, steps)
        parts: list[Any] = []
        for step, made in zip(steps, found, strict=True):
            if made is None:
                parts.append(plain(self._interpreted(step)))
                continue
            begin = len(self.calls)
            for call in made:
                self._call(call)
            if parts and isinstance(parts[-1], list):
                parts[-1][1] = len(self.calls)
            elif made:
                parts.append([begin, len(self.calls)])
        told = {
            "arena_bytes": self.program.arena_bytes, "scratch_bytes": self.scratch, "parts": parts,
            "compiled": sum(made is not None for made in found),
        }  # fmt: skip
        words = np.concatenate(self.words) if self.words else np.empty(0, np.int64)
        return told, words, np.array(self.calls, np.int64).reshape(-1, 4), np.array(self.links, np.int64).reshape(-1, 4)

    def _call(self, call: Call) -> None:
        kernel = self.kernels[call.kernel]
        given: dict[str, float | int | None] = {}
        for name, value in call.words.items():
            if value is None or isinstance(value, float | int):
                given[name] = value
                continue
            region, number, offset, nbytes = self._buffer(value)
            given |= {name: 0, f"{name}_bytes": nbytes}
            self.links.append((self.end + kernel.fields.index(name), region, number, offset))
        words = kernel.words(**given).values
        self.scratch = max(self.scratch, int(call.words.get("scratch_bytes", 0)))  # type: ignore[arg-type]
        self.words.append(words)
        self.calls.append((self.names[call.kernel], call.rows, self.end, len(words)))
        self.end += len(words)

    def _buffer(self, value: Part | np.ndarray) -> tuple[int, int, int, int]:
        """Region, number, offset and bytes of a buffer."""
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            return DATA, 0, self.data.add(value.tobytes()), value.nbytes
        place = self._place(value.operand)
        # Buffers end where the next one may begin: what a kernel writes to round off its last vector is nobody's.
        nbytes = value.nbytes if place.region == OUTPUT else aligned(value.operand.nbytes) - value.offset
        return place.region, place.number, place.offset + value.offset, nbytes

    def _place(self, operand: Operand) -> Place:
        region = REGION[operand.region]
        number = operand.at if region in (INPUT, OUTPUT) else 0
        offset = self.data.constant(operand) if region == DATA else operand.at if region == ARENA else 0
        return Place(region, number, offset, operand.type, operand.stride)

    def _interpreted(self, step: Step) -> Interpreted:
        output = self._place(step.output)
        if output.region == OUTPUT:  # the caller's arrays have no gaps
            output = replace(output, stride=step.output.type.shape[-1] if step.output.type.rank else 1)
        assert row_bytes(output.type, output.stride) >= output.type.nbytes
        return Interpreted(step.op, tuple(map(self._place, step.inputs)), output)
