"""Calibration samples: pictures of any source as a model's input, or arrays of an .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flow.sources.contract import Picture, Reader, SourceError

if TYPE_CHECKING:
    from devices.engine import ModelInfo

MAX_ARRAYS_BYTES = 1 << 32
MAX_PICTURES = 100_000
"""Of a source that does not know its length: it may have no end."""


def samples(model: ModelInfo, uri: str, limit: int, *, resize: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of a model, made as its manifest says from the pictures of a source: a picture, a folder, a glob, a video, a stream.

    Of a source that knows its length, `limit` pictures are made, evenly spread; of a live one the first; of others all, up to
    `MAX_PICTURES`. `resize`: the shorter side before the
    crop of a model with `fit: crop`. An .npz file has an array for each input, its samples along a further first axis or along the
    batch. Raises SourceError and EngineError.
    """
    path = Path(uri)
    if path.suffix.lower() == ".npz":
        return _from_arrays(model, path)
    return _from_pictures(model, uri, limit, resize)


def pixel_bounds(model: ModelInfo) -> dict[str, tuple[float, float]]:
    """The least and the largest value that pixels can have as the model's input."""
    pixels = model.input
    if pixels is None or pixels.dtype != "float32":
        return {}
    ends = [(level - mean) / std for mean, std in zip(pixels.mean, pixels.std, strict=True) for level in (0.0, 255.0)]
    if pixels.fit == "letterbox":
        ends += [(pixels.pad - mean) / std for mean, std in zip(pixels.mean, pixels.std, strict=True)]
    return {pixels.tensor: (min(ends), max(ends))}


def _from_pictures(model: ModelInfo, uri: str, limit: int, resize: int | None) -> Iterator[dict[str, np.ndarray]]:
    from flow import sources
    from ops import catalog
    from ops.contract import Operator
    from ops.image.fit import pixels_step
    from ops.testing import HeapContext, frame
    from ops.value import Image, Tensors

    step = pixels_step(model, resize=resize)
    assert model.input is not None
    if set(dict(model.inputs)) != {model.input.tensor}:
        others = ", ".join(name for name, _ in model.inputs if name != model.input.tensor)
        raise SourceError(f"{uri}: expected a model with one input, of pixels, got {others} as well; give all inputs in an .npz file")
    kind = catalog.find(step.op)
    assert issubclass(kind, Operator)
    operator = kind(kind.Config(**step.config))
    found = sources.probe(uri)
    reader = sources.open_reader(uri)
    try:
        operator.open(HeapContext())
        pictures = islice(_all(reader), limit if found.live else MAX_PICTURES)
        for number, picture in _spread(pictures, found.frames, limit):
            made = operator.run(frame(number), image=Image(picture.spec, tuple(map(np.ascontiguousarray, picture.planes))))
            assert isinstance(made, Mapping)
            tensors = made["tensors"]
            assert isinstance(tensors, Tensors)
            yield tensors.arrays
    finally:
        operator.close()
        reader.close()


def _all(reader: Reader) -> Iterator[Picture]:
    while (picture := reader.read()) is not None:
        yield picture


def _spread(pictures: Iterable[Picture], frames: int | None, limit: int) -> Iterator[tuple[int, Picture]]:
    """Pictures with their numbers: `limit` of the known number, evenly spread, or all."""
    for number, picture in enumerate(pictures):
        if not frames or frames <= limit or number * limit // frames != (number - 1) * limit // frames:
            yield number, picture


def _from_arrays(model: ModelInfo, path: Path) -> Iterator[dict[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_ARRAYS_BYTES:
            raise SourceError(f"{path}: expected arrays of at most {MAX_ARRAYS_BYTES} bytes, got {size}; take fewer samples")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise SourceError(f"{path}: expected an .npz file of arrays (numpy.savez), got: {why}") from None
    wanted = dict(model.inputs)
    if arrays.keys() != wanted.keys():
        raise SourceError(f"{path}: expected an array for each of {', '.join(wanted)}, got {', '.join(arrays) or 'none'}")
    rows = {}
    for name, spec in wanted.items():
        array = arrays[name]
        if array.shape[1:] != spec.shape and spec.shape[:1] == (1,) and array.shape[1:] == spec.shape[1:]:
            array = array[:, None]
        if array.shape[1:] != spec.shape or array.dtype != np.dtype(spec.dtype):
            expected = f"{spec.dtype}[samples, {', '.join(map(str, spec.shape))}]"
            raise SourceError(f"{path}: array {name!r}: expected {expected}, got {array.dtype}{list(array.shape)}")
        rows[name] = array
    counts = {name: len(array) for name, array in rows.items()}
    if len(set(counts.values())) > 1:
        raise SourceError(f"{path}: expected as many samples of each input, got {counts}")
    for index in range(min(counts.values(), default=0)):
        yield {name: array[index] for name, array in rows.items()}
