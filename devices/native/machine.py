"""Runs a program: lists of kernel calls that native code walks, and the reference for the steps between that have none."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from devices.native.arrays import aligned_bytes, viewed
from devices.native.crew import Crew
from devices.native.image import ARENA, DATA, INPUT, OUTPUT, Image
from devices.native.kernels import KernelError, Library, Words, address
from devices.native.kernels.team import Team

if TYPE_CHECKING:
    from devices.native.steps import Interpreted, Place

Arrays = Sequence[np.ndarray]


class Machine:
    """A program with its memory, for one of its numbers of items, run by a crew of threads. One thread uses it at a time.

    Threads share out the rows of each kernel, with the same results for any number of them. `compiled` and `interpreted` count the steps
    that kernels do and those that the reference does. Raises KernelError for kernels of another instruction set.
    """

    def __init__(self, image: Image, library: Library, crew: Crew | None = None, items: int = 1) -> None:
        if library.isa.name != image.isa:
            raise KernelError(f"expected kernels for {image.isa}, as the program was made for, got some for {library.isa.name}")
        variant = image.variants[items]
        self.inputs, self.outputs = (tuple(port.at(items) for port in ports) for ports in (image.inputs, image.outputs))
        self.compiled, self.interpreted = variant.compiled, variant.interpreted
        self._data, self._arena = image.data, aligned_bytes(variant.arena_bytes)
        # Kernels may read past the end of an operand: the caller's arrays are copied to memory where they can.
        self._held = [aligned_bytes(port.nbytes) for port in self.inputs]
        self._taken = [viewed(held, 0, port) for held, port in zip(self._held, self.inputs, strict=True)]
        self._words = variant.words.copy()
        self._late = self._link(variant.links)
        self._written: list[int] = []
        self._crew = crew or Crew(1, library)
        lists = [[self._call(image, row) for row in variant.calls[part].tolist()] for part in variant.parts if isinstance(part, range)]
        teams = iter(self._crew.teams(lists, variant.scratch_bytes + 64))
        self._parts = [next(teams) if isinstance(part, range) else self._step(part) for part in variant.parts]

    def run(self, inputs: Arrays, outputs: Arrays) -> None:
        """Contiguous arrays of `inputs` and `outputs`, in their order."""
        self._crew.begin()
        try:
            self._run(inputs, outputs)
        finally:
            self._crew.end()

    def _run(self, inputs: Arrays, outputs: Arrays) -> None:
        for taken, array in zip(self._taken, inputs, strict=True):
            np.copyto(taken, array)
        places = [_place(array) for array in outputs]
        if places != self._written:
            words, numbers, offsets = self._late
            self._words[words] = np.array(places, np.int64)[numbers] + offsets
            self._written = places
        for part in self._parts:
            if isinstance(part, Team):
                part.run()
            else:
                part(outputs)

    def _link(self, links: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Puts addresses into words. Gives the words that wait for the caller's outputs, the numbers of these and the offsets there."""
        words, regions, numbers, offsets = links.T
        for region, bases in ((DATA, [self._data]), (ARENA, [self._arena]), (INPUT, self._held)):
            here = regions == region
            if here.any():
                self._words[words[here]] = np.array([address(base) for base in bases], np.int64)[numbers[here]] + offsets[here]
        late = regions == OUTPUT
        return words[late], numbers[late], offsets[late]

    def _call(self, image: Image, row: Sequence[int]) -> tuple[str, Words, int]:
        kernel, rows, first, count = row
        return image.kernels[kernel], Words(self._words[first : first + count]), rows

    def _step(self, step: Interpreted) -> Callable[[Arrays], None]:
        sources, target = [self._place(place) for place in step.inputs], self._place(step.output)
        return lambda outputs: step.run([source(outputs) for source in sources], target(outputs))

    def _place(self, place: Place) -> Callable[[Arrays], np.ndarray]:
        number, offset, told = place.number, place.offset, place.type
        if place.region == OUTPUT:
            return lambda outputs: viewed(outputs[number].reshape(-1).view(np.uint8), offset, told)
        memory = self._held[number] if place.region == INPUT else self._data if place.region == DATA else self._arena
        view = viewed(memory, offset, told, place.stride)
        return lambda outputs: view


def _place(array: np.ndarray) -> int:
    """Where memory that can be written begins: `address` in a fifth of the time."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data)) if array.size else 0
