"""The engine contract: what turns a model file into something that runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from devices.spec import TensorSpec


class EngineError(Exception):
    """A model that cannot be loaded or run: says which engine, which file, expected and got."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How many frames may be computed together, and how long (ms) one may wait for others; with 0 what waits already is taken.

    `dimension` is the name of the model file's open first dimension; empty for work without a model.
    """

    most: int = 8
    delay_ms: float = 0.0
    dimension: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as operators and engines see it: content digest, tensor signature, and what its manifest says of pixels.

    `input` is the Model manifest's input section with defaults filled (format, fit, align, pad, mean, std, layout, size) or None
    when the model has no image input. `labels` are class names by class id. `dims` are the values of the file's symbolic dimensions.
    `batch` is set where the file leaves the first dimension of all inputs and outputs open: then engines may take several items at once.
    `engine` is the one that the manifest names, or `auto`.
    """

    name: str
    version: str
    path: Path
    digest: str
    inputs: tuple[tuple[str, TensorSpec], ...]
    outputs: tuple[tuple[str, TensorSpec], ...]
    labels: tuple[str, ...] = ()
    input: PixelInput | None = None
    dims: tuple[tuple[str, int], ...] = ()
    batch: Batching | None = None
    engine: str = "auto"


@dataclass(frozen=True, slots=True)
class PixelInput:
    """How pixels become the model's input: value = (pixel - mean) / std per channel, channels in the order of `format`.

    `width` and `height` are the model's input size; `layout` is `nchw` or `nhwc`; `dtype` float32 or uint8; `tensor` the input's name.
    """

    tensor: str
    width: int
    height: int
    format: str = "rgb24"
    fit: str = "letterbox"
    align: str = "top-left"
    pad: float = 0.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str = "nchw"
    dtype: str = "float32"


@runtime_checkable
class Session(Protocol):
    """A loaded model. One thread uses it at a time; a worker shares it between the nodes of several streams.

    A session whose `run` takes any number of items along the first dimension of all arrays says so with an attribute `batches` that is
    true.
    """

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...
    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...
    def run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name. With `outputs` (contiguous arrays of the output specs) the results are written there; without, into the
        session's own arrays, which the next run may reuse. Arrays lie in the memory domain of the engine's device. Raises EngineError.
        """
        ...

    def close(self) -> None:
        """Frees the model; a later run raises EngineError."""
        ...


@runtime_checkable
class Engine(Protocol):
    """One way to run models on one device; found through the entry point group `ace.engines`, whose entries name an instance or a class.

    `device` is the device's name, `precisions` what `load` takes besides `auto`.
    """

    name: str
    device: str
    precisions: tuple[str, ...]

    def missing(self) -> str | None:
        """Why this engine cannot work on this machine, or None."""
        ...

    def lacks(self, path: Path) -> tuple[str, ...]:
        """Operators of the model that the engine does not have (empty: it covers the model wholly). Raises EngineError for a file that no
        engine could load."""
        ...

    def load(self, model: ModelInfo, *, threads: int, precision: str = "auto") -> Session:
        """Loads the model, to run on this many threads. Neither forks nor spins. Raises EngineError."""
        ...
