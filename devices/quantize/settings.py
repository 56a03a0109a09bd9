"""What a user chooses of quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from devices.quantize.ranges import Method

Choice = Literal["auto", "on", "off"]

FLOAT_SHARE = 0.0
"""About what a network may take longer for what stays float. Nothing: it takes memory and time."""

BAR_DB = 15.0
"""Outputs whose error is below a thirtieth of their power keep detections and classes in place on the models that this was tried on."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`auto` measures on held-out samples and takes what is best.

    `pair_safe`: weights that processors with AVX2 and without VNNI multiply faster. `keep_float`: layers that stay float, `auto` for as few
    as bring the worst output to `min_sqnr_db`, after those (and residual sums) that gain most within `float_share` of the time that the
    network takes in uint8, as `cost` estimates it. With names, or none, all else is in uint8.
    """

    ranges: Method | Literal["auto"] = "auto"
    pair_safe: bool = True
    smooth: Choice = "auto"
    equalize: Choice = "auto"
    correct_bias: Choice = "auto"
    second_order: Choice = "auto"
    keep_float: tuple[str, ...] | Literal["auto"] = "auto"
    min_sqnr_db: float = BAR_DB
    float_share: float = FLOAT_SHARE
    threads: int = 1
