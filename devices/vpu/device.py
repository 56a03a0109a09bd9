"""The device `vpu`, as the registry lists it."""

from __future__ import annotations

import numpy as np

from devices.cpu import available_memory
from devices.engine import EngineError
from devices.vpu.machine import declared


class Vpu:
    """A fixed-point accelerator with a memory of its own. No hardware is behind it: this process emulates it, in its own worker.

    Its memory is emulated as well: buffers of the domain `vpu` lie in the host's memory and hold the same bytes.
    """

    name = "vpu"
    kind = "vpu"
    domain = "vpu"
    emulated = True
    cores = 1

    @property
    def memory_bytes(self) -> int:
        return available_memory()

    @property
    def declared(self) -> str:
        """The machine's local memory and speed, in words; empty where the declaration makes no sense, as `missing` says."""
        return "" if self.missing() else str(declared())

    def missing(self) -> str | None:
        try:
            declared()
        except EngineError as error:
            return str(error)
        return None

    def upload(self, source: np.ndarray, target: np.ndarray) -> None:
        np.copyto(target, source, casting="no")

    def download(self, source: np.ndarray, target: np.ndarray) -> None:
        np.copyto(target, source, casting="no")
