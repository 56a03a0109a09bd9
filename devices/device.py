"""The device contract: where work is done, and how bytes get into and out of its memory."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Device(Protocol):
    """One device of this machine; found through the entry point group `ace.devices`, whose entries name an instance or a class.

    `kind` is cpu, gpu, npu, vpu or dsp. `domain` names its memory: arrays of another domain than `cpu` lie in buffers of the same size
    whose bytes only this device understands. `emulated` says that no hardware is behind it.
    """

    name: str
    kind: str
    domain: str
    emulated: bool

    @property
    def cores(self) -> int:
        """Threads (cpu) or streams (others) that can run at once."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Memory that is free for models and frames now."""
        ...

    def missing(self) -> str | None:
        """Why the device cannot be used on this machine, or None."""
        ...

    def upload(self, source: np.ndarray, target: np.ndarray) -> None:
        """Copies a `cpu` array into a contiguous array of the device's domain, of the same dtype and shape."""
        ...

    def download(self, source: np.ndarray, target: np.ndarray) -> None:
        """Copies an array of the device's domain into a `cpu` array of the same dtype and shape."""
        ...
