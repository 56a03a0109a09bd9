"""The rate of fused multiply-adds that a core can reach, measured in the same run as what is compared with it."""

from __future__ import annotations

from typing import Any

from devices.native.isa import Isa
from devices.native.kernels.emit import f32, vector
from devices.native.kernels.frame import Frame
from devices.native.kernels.kernel import Kernel

CHAINS = 12
"""Independent sums: latency times rate of multiply-adds on the CPUs that are known."""


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    frame = Frame(module, isa, kernel, checked=checked)
    code, lanes = frame.code, isa.vector // 4
    kind = vector(f32, lanes)
    x = frame.buffer("x")
    factor, addend = (code.load(kind, x, 4 * lanes * i) for i in range(2))
    sums = [code.variable(addend, kind) for _ in range(CHAINS)]
    with code.each(frame.begin, frame.end):
        for total in sums:
            total.set(code.fma(total.get(), factor, addend))
    for i, total in enumerate(sums):
        code.store(total.get(), x, 4 * lanes * (2 + i))
    code.finish()
