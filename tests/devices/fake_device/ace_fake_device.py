"""A second device for tests. Its memory holds every byte XORed with 0x5A: whoever reads it as cpu memory sees wrong data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from devices.engines.onnxruntime import OnnxRuntime

KEY = np.uint8(0x5A)


def flip(source: np.ndarray, target: np.ndarray) -> None:
    """Into the fake domain and out of it are the same step."""
    assert (source.dtype, source.shape) == (target.dtype, target.shape)
    target.reshape(-1).view(np.uint8)[:] = np.ascontiguousarray(source).reshape(-1).view(np.uint8) ^ KEY


def flipped(array: np.ndarray) -> np.ndarray:
    target = np.empty_like(array, order="C")
    flip(array, target)
    return target


class FakeDevice:
    name = "fake"
    kind = "npu"
    domain = "fake"
    emulated = True
    cores = 1
    memory_bytes = 2**30

    def missing(self) -> str | None:
        return None

    def upload(self, source: np.ndarray, target: np.ndarray) -> None:
        flip(source, target)

    def download(self, source: np.ndarray, target: np.ndarray) -> None:
        flip(source, target)


class FakeEngine:
    name = "fake"
    device = "fake"
    precisions = ()

    def missing(self) -> str | None:
        return None

    def lacks(self, path: Path) -> tuple[str, ...]:
        return OnnxRuntime().lacks(path)

    def load(self, model, *, threads: int, precision: str = "auto"):
        return FakeSession(OnnxRuntime().load(model, threads=threads, precision=precision))


class FakeSession:
    def __init__(self, inner) -> None:
        self._inner = inner
        self.inputs, self.outputs = inner.inputs, inner.outputs

    def run(self, inputs, outputs=None):
        found = self._inner.run({name: flipped(array) for name, array in inputs.items()})
        if outputs is None:
            return {name: flipped(array) for name, array in found.items()}
        for name, array in found.items():
            flip(array, outputs[name])
        return dict(outputs)

    def close(self) -> None:
        self._inner.close()
