"""Calibration inputs, kept in a temporary file so that any number of passes takes little memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from devices.engine import EngineError
from devices.spec import TensorSpec

MAX_BYTES = 8 * 2**30
"""Bytes of all samples on disk."""

HELD_OUT = 5
"""Every fifth sample is held out: figures are measured on samples that no range was taken from."""


class Samples(Sequence[dict[str, np.ndarray]]):
    """Inputs of a model, one after another. Where there are more than `limit`, every second one is let go of again and again, so that
    those kept are spread evenly over all."""

    def __init__(self, inputs: Mapping[str, TensorSpec], given: Iterable[Mapping[str, np.ndarray]], limit: int) -> None:
        """Raises EngineError where an array does not fit the model, has numbers that are not finite, or nothing is given."""
        size = sum(spec.nbytes for spec in inputs.values())
        if size * limit > MAX_BYTES:
            raise EngineError(f"expected samples of at most {MAX_BYTES} bytes, got {limit} of {size}; take fewer samples")
        self._folder = tempfile.TemporaryDirectory(prefix="ace-samples-")
        self._arrays = {
            name: np.lib.format.open_memmap(Path(self._folder.name) / f"{index}.npy", "w+", np.dtype(spec.dtype), (limit, *spec.shape))
            for index, (name, spec) in enumerate(inputs.items())
        }
        self._count = 0
        try:
            self._take(inputs, given, limit)
        except BaseException:
            self.close()
            raise

    def _take(self, inputs: Mapping[str, TensorSpec], given: Iterable[Mapping[str, np.ndarray]], limit: int) -> None:
        every = 1
        for number, sample in enumerate(given):
            if number % every:
                continue
            if self._count == limit:
                kept = range(0, limit, 2)
                for target, source in enumerate(kept):
                    for array in self._arrays.values():
                        array[target] = array[source]
                self._count, every = len(kept), every * 2
                if number % every:
                    continue
            self._put(inputs, sample)
        if not self._count:
            raise EngineError("expected at least one sample to calibrate on, got none")

    def _put(self, inputs: Mapping[str, TensorSpec], sample: Mapping[str, np.ndarray]) -> None:
        for name, spec in inputs.items():
            if name not in sample:
                raise EngineError(f"expected samples with input {name!r}, got {', '.join(sample) or 'none'}")
            array = sample[name]
            if array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
                raise EngineError(f"input {name!r}: expected samples of {spec}, got {array.dtype}{list(array.shape)}")
            if not np.isfinite(array).all():
                raise EngineError(f"input {name!r}: expected finite numbers, got others in sample {self._count}")
            self._arrays[name][self._count] = array
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:  # type: ignore[override]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return {name: np.asarray(array[index]) for name, array in self._arrays.items()}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[index] for index in range(self._count))

    def split(self) -> tuple[list[int], list[int]]:
        """Indices to calibrate on, and held out: every fifth; fewer than five serve as both."""
        every = list(range(self._count))
        if self._count < HELD_OUT:
            return every, every
        held = every[HELD_OUT // 2 :: HELD_OUT]
        return [index for index in every if index not in set(held)], held

    def __enter__(self) -> Samples:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Deletes the file."""
        self._arrays.clear()
        self._folder.cleanup()
