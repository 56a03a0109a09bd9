"""Runs a program step by step. Each step is a kernel that reads and writes NumPy views; where none is given, the reference's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from devices.native.arrays import aligned_bytes, viewed
from devices.native.lower import Operand, Program, Step
from devices.native.reference import evaluate

Kernel = Callable[[Sequence[np.ndarray], np.ndarray], None]
"""Reads its inputs and writes its output: arrays of the step's types, whose rows lie as its operands say."""
Provider = Callable[[Step], "Kernel | None"]
"""The kernel for a step, or None where it has none."""


def reference_kernel(step: Step) -> Kernel:
    """What the reference interpreter computes, written to the output."""
    types = [operand.type for operand in step.inputs]

    def kernel(inputs: Sequence[np.ndarray], output: np.ndarray) -> None:
        whole = [np.asarray(array, order="C") for array in inputs]
        np.copyto(output, evaluate(step.op, types, step.output.type, whole).reshape(output.shape))

    return kernel


class Executor:
    """A program with its memory, for one batch size. One thread uses it at a time; it allocates nothing of its own while it runs."""

    def __init__(self, program: Program, provide: Provider | None = None) -> None:
        self.program = program
        self._arena = aligned_bytes(program.arena_bytes)
        kernels = [(provide(step) if provide else None) or reference_kernel(step) for step in program.steps]
        self._steps = [
            (kernel, [self._place(operand) for operand in step.inputs], self._place(step.output))
            for kernel, step in zip(kernels, program.steps, strict=True)
        ]

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Contiguous arrays of the program's input and output types, in their order."""
        for kernel, sources, target in self._steps:
            kernel([source(inputs, outputs) for source in sources], target(inputs, outputs))

    def _place(self, operand: Operand) -> Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray]:
        told, at = operand.type, operand.at
        if operand.region == "input":
            return lambda inputs, outputs: inputs[at].reshape(told.shape)
        if operand.region == "output":
            return lambda inputs, outputs: viewed(outputs[at].reshape(-1).view(np.uint8), 0, told)
        view = viewed(self._arena if operand.region == "arena" else self.program.constants, at, told, operand.stride)
        return lambda inputs, outputs: view
