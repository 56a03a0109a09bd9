"""Runs a program: lists of kernel calls that native code walks, and the reference for the steps between that have none."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from devices.native.arrays import aligned_bytes, viewed
from devices.native.crew import Crew
from devices.native.image import ARENA, DATA, INPUT, OUTPUT, Image, Variant
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
        # Most kernels may read past the end of an operand: arrays of the caller's that such read are copied to memory where they can.
        self._within = _within(image, variant, library)
        self._held = [aligned_bytes(0 if within else port.nbytes) for within, port in zip(self._within, self.inputs, strict=True)]
        self._taken = [
            None if within else viewed(held, 0, port) for within, held, port in zip(self._within, self._held, self.inputs, strict=True)
        ]
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
        places = []
        for taken, array in zip(self._taken, inputs, strict=True):
            if taken is None:
                places.append(address(array))
            else:
                np.copyto(taken, array)
        places += [_place(array) for array in outputs]
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
        """Puts addresses into words. Gives the words that wait for the caller's arrays, the numbers of these and the offsets there: first
        inputs that are not copied, then outputs."""
        words, regions, numbers, offsets = links.T
        count = sum(self._within)
        orders = {(INPUT, number): order for order, number in enumerate(np.flatnonzero(self._within).tolist())}
        orders |= {(OUTPUT, number): count + number for number in range(len(self.outputs))}
        order = np.array([orders.get(place, -1) for place in zip(regions.tolist(), numbers.tolist(), strict=True)], np.int64)
        late = order >= 0
        for region, bases in ((DATA, [self._data]), (ARENA, [self._arena]), (INPUT, self._held)):
            here = (regions == region) & ~late
            if here.any():
                self._words[words[here]] = np.array([address(base) for base in bases], np.int64)[numbers[here]] + offsets[here]
        return words[late], order[late], offsets[late]

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


def _within(image: Image, variant: Variant, library: Library) -> list[bool]:
    """For each input, whether nothing reads past its end: neither kernels nor steps of the reference."""
    within = [True] * len(image.inputs)
    for step in variant.parts:
        for place in () if isinstance(step, range) else step.inputs:
            if place.region == INPUT:
                within[place.number] = False
    kernels, _, starts, _ = variant.calls.T
    for word, region, number, _ in variant.links.tolist():
        kernel = image.kernels[kernels[np.searchsorted(starts, word, "right") - 1]]
        if region == INPUT and not library.kernels[kernel].within:
            within[number] = False
    return within


def _place(array: np.ndarray) -> int:
    """Where memory that can be written begins: `address` in a fifth of the time."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data)) if array.size else 0
