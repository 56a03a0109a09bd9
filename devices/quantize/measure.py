"""How far a quantized model is from its float original, output by output, over the same inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from devices.quantize.execute import Feed, Runner


@dataclass(frozen=True)
class OutputError:
    """`sqnr_db`: signal over error (None for outputs that are no float: then `equal` is the part of equal elements)."""

    sqnr_db: float | None
    max_abs_error: float
    equal: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """`top1`: part of the samples with the same best class, for a model whose only output is one score a class."""

    outputs: Mapping[str, OutputError]
    top1: float | None
    samples: int

    @property
    def worst_db(self) -> float:
        """The lowest SQNR of all float outputs; infinite where there is none."""
        return min((error.sqnr_db for error in self.outputs.values() if error.sqnr_db is not None), default=float("inf"))

    @property
    def mean_db(self) -> float:
        """The mean SQNR of all outputs, each counted up to 100 dB; of those that are no float, the equal part in percent."""
        found = [100.0 * (error.equal or 0.0) if error.sqnr_db is None else min(error.sqnr_db, 100.0) for error in self.outputs.values()]
        return float(np.mean(found)) if found else 100.0

    @property
    def noise(self) -> float:
        """Error over signal, the mean of all float outputs."""
        found = [10 ** (-error.sqnr_db / 10) for error in self.outputs.values() if error.sqnr_db is not None]
        return float(np.mean(found)) if found else 0.0


class Yardstick:
    """The float model's outputs over some samples, kept to be compared with."""

    def __init__(self, model: Any, feeds: Sequence[Feed], *, threads: int = 1) -> None:
        runner = Runner(model, threads=threads)
        self._feeds, self._threads = feeds, threads
        self._told = [runner.run(feed) for feed in feeds]

    def measure(self, model: Any, most: int | None = None) -> Accuracy:
        """Compares another model over the first `most` samples."""
        runner = Runner(model, threads=self._threads)
        feeds = self._feeds[:most]
        return compare(zip(self._told, (runner.run(feed) for feed in feeds), strict=False))


def compare(pairs: Iterable[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]) -> Accuracy:
    """The error of the second outputs of each pair against the first."""
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    largest: dict[str, float] = {}
    equal: dict[str, list[float]] = {}
    same, count = 0, 0
    classifies = False
    for told, got in pairs:
        count += 1
        for name, array in told.items():
            if array.dtype.kind != "f":
                equal.setdefault(name, []).append(float((array == got[name]).mean()) if array.size else 1.0)
                continue
            real = array.astype(np.float64)
            error = got[name].astype(np.float64) - real
            signal[name] = signal.get(name, 0.0) + float((real**2).sum())
            noise[name] = noise.get(name, 0.0) + float((error**2).sum())
            largest[name] = max(largest.get(name, 0.0), float(np.abs(error).max(initial=0.0)))
        (name, array), only = next(iter(told.items())), len(told) == 1
        if only and array.dtype.kind == "f" and array.ndim == 2 and array.shape[0] == 1 and array.shape[1] > 1:
            classifies = True
            same += int(array.argmax() == got[name].argmax())
    outputs = {name: OutputError(ratio(signal[name], noise[name]), largest[name]) for name in signal}
    outputs |= {name: OutputError(None, 0.0, float(np.mean(parts))) for name, parts in equal.items()}
    return Accuracy(outputs, same / count if classifies else None, count)


def ratio(signal: float, noise: float) -> float:
    """Signal over noise in dB; infinite without noise, at least -100."""
    if noise == 0:
        return float("inf")
    return max(-100.0, 10 * float(np.log10(signal / noise))) if signal else -100.0
