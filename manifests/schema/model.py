"""The Model manifest: a model file, what its pixels look like, what its classes are called."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from manifests.schema.common import Manifest, Name, Strict, Version

Channels = Annotated[tuple[float, ...], Field(min_length=1, max_length=4)]


class ModelInput(Strict):
    """How pixels become the model's input: value = (pixel - mean) / std per channel, channels in the order of `format`."""

    format: Literal["bgr24", "rgb24", "gray8"] = "rgb24"
    fit: Literal["letterbox", "stretch", "crop"] = "letterbox"
    align: Literal["top-left", "center"] = "top-left"
    pad: Annotated[float, Field(ge=0, le=255)] = 0.0
    mean: Channels = (0.0, 0.0, 0.0)
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=4)] = (1.0, 1.0, 1.0)
    layout: Literal["auto", "nchw", "nhwc"] = "auto"
    size: tuple[Annotated[int, Field(ge=1, le=8192)], Annotated[int, Field(ge=1, le=8192)]] | None = None
    """(width, height); needed only when the file leaves them open."""
    tensor: str | None = None
    """Name of the input that takes the pixels; the first one when not given."""

    @field_validator("mean", "std")
    @classmethod
    def one_for_each_channel(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        """`mean` and `std` have as many numbers as the format has channels."""
        channels = 1 if info.data.get("format") == "gray8" else 3
        if len(values) != channels and "format" in info.data:
            expected = f"{channels} number(s), one for each channel of {info.data['format']}"
            raise PydanticCustomError("expected", "expected {expected}", {"expected": expected})
        return values


class Batch(Strict):
    """How a model whose file leaves the batch open takes frames of several streams at once."""

    most: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames in one call at most; 1: each alone."""
    delay_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How long a frame may wait for those of other streams; 0: what waits already is taken."""


class Model(Manifest):
    """A model file with what one must know to use it."""

    kind: Literal["Model"] = "Model"
    name: Name
    version: Version
    title: str = ""
    file: Annotated[str, Field(min_length=1, max_length=512)]
    input: ModelInput | None = None
    labels: str | tuple[str, ...] = ()
    """A named list (`coco80`), a file beside the manifest (one name a line), or the names themselves."""
    dims: dict[str, Annotated[int, Field(ge=1, le=65536)]] = Field(default={})
    """Values for symbolic dimensions of the file, by name."""
    batch: Batch | None = None
    """For a file with an open batch; up to 8 frames that wait already when not given."""
    engine: Literal["auto", "native", "onnxruntime"] = "auto"
    """What runs the model where no node says otherwise; `auto`: the faster one, once `ace prepare` has measured them."""
    license: str = ""
