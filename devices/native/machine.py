"""Runs a program with compiled kernels: lists of calls that native code walks, and the reference for the steps between that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from devices.native.calls import Call, Context, Part, calls
from devices.native.crew import Crew
from devices.native.execute import reference_kernel
from devices.native.kernels import Library, Words, address
from devices.native.kernels.team import Team
from devices.native.lower import Operand, Program, Step, aligned_bytes, viewed
from devices.native.memory import aligned


class Machine:
    """A program with its memory, for one batch size, run by a crew of threads. One thread uses it at a time.

    Threads share out the rows of each kernel, with the same results for any number of them. `compiled` and `interpreted` count the steps
    that kernels do and those that the reference does.
    """

    def __init__(self, program: Program, library: Library, crew: Crew | None = None) -> None:
        self.program = program
        self._library = library
        self._crew = crew or Crew(1)
        self._arena = aligned_bytes(program.arena_bytes)
        # Kernels may read past the end of an operand: the caller's arrays are copied to memory where they can.
        self._inputs = [aligned_bytes(told.nbytes) for _, told in program.inputs]
        self._patches: list[tuple[np.ndarray, int, int, int]] = []
        self._parts: list[Team | Step] = []
        made = calls(Context(library.isa, self._constant), program.steps)
        self.interpreted = sum(found is None for found in made)
        self.compiled = len(made) - self.interpreted
        waiting: list[tuple[str, Words, int]] = []
        needed = 0
        for step, found in zip(program.steps, made, strict=True):
            if found is None:
                self._flush(waiting)
                self._parts.append(step)
                continue
            for call in found:
                words = self._words(call)
                needed = max(needed, int(call.words.get("scratch_bytes", 0)))  # type: ignore[arg-type]
                waiting.append((call.kernel, words, call.rows))
        self._flush(waiting)
        self._scratches = self._crew.scratches(needed + 64)
        self._interpreters = {id(step): reference_kernel(step) for step in self._parts if isinstance(step, Step)}

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Contiguous arrays of the program's input and output types, in their order."""
        for held, (_, told), array in zip(self._inputs, self.program.inputs, inputs, strict=True):
            np.copyto(viewed(held, 0, told), array)
        for values, at, number, offset in self._patches:
            values[at] = address(outputs[number]) + offset
        for part in self._parts:
            if isinstance(part, Step):
                sources = [self._view(operand, outputs) for operand in part.inputs]
                self._interpreters[id(part)](sources, self._view(part.output, outputs))
            else:
                self._crew.run(part, self._scratches)

    def _flush(self, waiting: list[tuple[str, Words, int]]) -> None:
        """Makes one list of the calls that wait."""
        if waiting:
            self._parts.append(Team(self._library, waiting, self._crew.size))
            waiting.clear()

    def _words(self, call: Call) -> Words:
        kernel = self._library.kernels[call.kernel]
        given: dict[str, np.ndarray | float | None] = {}
        late: list[tuple[str, int, int]] = []
        for name, value in call.words.items():
            if not isinstance(value, Part):
                given[name] = value
            elif value.operand.region == "output":
                late.append((name, value.operand.at, value.offset))
                given |= {name: 0, f"{name}_bytes": value.nbytes}
            else:
                # Buffers end where the next one may begin: what a kernel writes to round off its last vector is nobody's.
                room = aligned(value.operand.nbytes) - value.offset
                given |= {name: address(self._memory(value.operand)) + value.offset, f"{name}_bytes": room}
        words = kernel.words(**given)
        self._patches += [(words.values, kernel.fields.index(name), number, offset) for name, number, offset in late]
        return words

    def _memory(self, operand: Operand) -> np.ndarray:
        """The bytes of an operand that is not the caller's output."""
        if operand.region == "input":
            return self._inputs[operand.at]
        return (self._arena if operand.region == "arena" else self.program.constants)[operand.at :]

    def _constant(self, operand: Operand) -> np.ndarray:
        return viewed(self.program.constants, operand.at, operand.type)

    def _view(self, operand: Operand, outputs: Sequence[np.ndarray]) -> np.ndarray:
        if operand.region == "output":
            return viewed(outputs[operand.at].reshape(-1).view(np.uint8), 0, operand.type)
        return viewed(self._memory(operand), 0, operand.type, operand.stride)
