"""How pixels become a model's input: the manifest's words and the file's shape brought together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from devices.engine import EngineError, PixelInput
from devices.spec import TensorSpec
from manifests.schema.model import ModelInput

Sizes = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Which input takes the pixels, and at which dimensions its channels, rows and columns lie."""

    tensor: str
    layout: str
    channels: int
    rows: int
    columns: int


LAYOUTS = {"nchw": (1, 2, 3), "nhwc": (3, 1, 2)}


def channels(format: str) -> int:
    """Channels of a pixel format that models take."""
    return 1 if format == "gray8" else 3


def locate(model: str, declared: Mapping[str, tuple[str, Sizes]], wanted: ModelInput) -> Place:
    """The input that takes the pixels, and its layout. Raises EngineError when the file does not fit what the manifest says."""
    if not declared:
        raise EngineError(f"{model}: expected an input for the pixels, got a model without inputs")
    tensor = wanted.tensor or next(iter(declared))
    if tensor not in declared:
        near = difflib.get_close_matches(tensor, declared, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise EngineError(f"{model}: input.tensor: expected one of {', '.join(declared)}, got {tensor!r}{hint}")
    dtype, sizes = declared[tensor]
    if dtype not in ("float32", "uint8"):
        raise EngineError(f"{model}: input {tensor!r}: expected float32 or uint8 for pixels, got {dtype}; cast it inside the model")
    count, shape = channels(wanted.format), f"[{', '.join(map(str, sizes))}]"
    if len(sizes) != 4:
        raise EngineError(
            f"{model}: input {tensor!r}: expected 4 dimensions (batch, and channels, rows, columns in some order), got {shape}; "
            "leave `input` out of the manifest when this model takes no picture"
        )
    if sizes[0] not in (1,) and isinstance(sizes[0], int):
        raise EngineError(f"{model}: input {tensor!r}: expected a batch of 1 or an open one, got {shape}")
    if wanted.layout == "auto":
        fitting = [name for name, (at, _, _) in LAYOUTS.items() if sizes[at] == count]
        if len(fitting) != 1:
            raise EngineError(
                f"{model}: input {tensor!r}: expected {count} ({wanted.format}) at dimension 1 or at dimension 3, got {shape}; "
                "set `input.layout` to nchw or nhwc, or `input.format` to what the model takes"
            )
        layout = fitting[0]
    else:
        layout = wanted.layout
    place = Place(tensor, layout, *LAYOUTS[layout])
    if isinstance(sizes[place.channels], int) and sizes[place.channels] != count:
        raise EngineError(
            f"{model}: input {tensor!r}: expected {count} channels ({wanted.format}, {layout}) at dimension {place.channels}, got {shape}"
        )
    return place


def open_dims(
    model: str, declared: Mapping[str, tuple[str, Sizes]], wanted: ModelInput, place: Place, dims: Mapping[str, int]
) -> dict[str, int]:
    """Values that the manifest's size and format give to open dimensions. Raises EngineError where the file says otherwise."""
    sizes = declared[place.tensor][1]
    given = {place.channels: channels(wanted.format)}
    if wanted.size is not None:
        given |= {place.columns: wanted.size[0], place.rows: wanted.size[1]}
    bound: dict[str, int] = {}
    for index, value in given.items():
        name = sizes[index]
        fixed = name if isinstance(name, int) else dims.get(name, dims.get(f"{place.tensor}:{index}", bound.get(name, value)))
        if fixed != value:
            size = "x".join(map(str, wanted.size or ()))
            raise EngineError(f"{model}: input.size: expected {fixed} at dimension {index} of {place.tensor!r}, got {value} (size {size})")
        if isinstance(name, str):
            bound[name] = value
    unknown = [name for index in (place.rows, place.columns) if isinstance(name := sizes[index], str)]
    if wanted.size is None and any(name not in dims and f"{place.tensor}:{sizes.index(name)}" not in dims for name in unknown):
        raise EngineError(
            f"{model}: input {place.tensor!r}: expected a size for {', '.join(map(repr, unknown))}, which the file leaves open; "
            "set `input.size: [width, height]` in the Model manifest"
        )
    return bound


def pixel_input(model: str, spec: TensorSpec, wanted: ModelInput, place: Place) -> PixelInput:
    """The manifest's input section with the file's size, layout and dtype filled in. Raises EngineError."""
    count = channels(wanted.format)
    mean, std = ((values * count)[:count] for values in (wanted.mean, wanted.std))  # one number stands for all channels
    if spec.dtype == "uint8" and (any(mean) or set(std) != {1.0}):
        raise EngineError(
            f"{model}: input {place.tensor!r}: expected mean 0 and std 1, as the model takes uint8 pixels as they are, "
            f"got mean {list(mean)} and std {list(std)}"
        )
    if spec.shape[0] != 1:
        raise EngineError(f"{model}: input {place.tensor!r}: expected a batch of 1, got {spec}")
    return PixelInput(
        place.tensor, spec.shape[place.columns], spec.shape[place.rows], wanted.format, wanted.fit, wanted.align, wanted.pad, mean, std,
        place.layout, spec.dtype,
    )  # fmt: skip
