"""What quantizing a model did to it, as values that become a table or JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from devices.quantize.measure import Accuracy


@dataclass(frozen=True)
class LayerReport:
    """One layer. `low`, `high`: the range its output is stored in; `seen_low`, `seen_high`: what it was seen to be (float model).

    `weight_sqnr_db`, `activation_sqnr_db`: signal over rounding noise of its weights and its output, each alone. All None where it stays
    float, those of its output where that is not rounded.
    """

    name: str
    operator: str
    kept_float: bool
    weight_sqnr_db: float | None
    activation_sqnr_db: float | None
    low: float | None
    high: float | None
    seen_low: float
    seen_high: float


@dataclass(frozen=True)
class Report:
    """`accuracy` is against the float model over `held_out` samples, by ONNX Runtime with exact 8-bit kernels. Sizes in bytes.

    `real`: what of uint8 layers is not rounded: nothing, results of the last ones, or residual sums, too (`sums`).
    `float_share`: what all that stays float is estimated to take longer, as a part of the time in uint8.
    """

    model: str
    output: str
    ranges: str
    pair_safe: bool
    smoothed: bool
    equalized: bool
    second_order: bool
    real: str
    float_share: float
    bias_corrected: bool
    tried: Mapping[str, float]
    """Mean SQNR in dB of what `auto` measured, by name."""
    layers: tuple[LayerReport, ...]
    accuracy: Accuracy
    calibrated_on: int
    held_out: int
    bytes_before: int
    bytes_after: int

    @property
    def kept_float(self) -> tuple[str, ...]:
        """Names of the layers that stay float."""
        return tuple(layer.name for layer in self.layers if layer.kept_float)

    def document(self) -> dict[str, Any]:
        """The report as JSON: infinite numbers are null."""
        found: dict[str, Any] = _finite(asdict(self) | {"kept_float": list(self.kept_float)})
        return found


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
