"""Post-training quantization: float32 ONNX to standard QDQ ONNX with uint8 activations and int8 weights (arXiv:1712.05877)."""

from __future__ import annotations

from devices.quantize.quantizer import check_output, quantize
from devices.quantize.report import LayerReport, Report
from devices.quantize.samples import Samples
from devices.quantize.settings import Settings

__all__ = ["LayerReport", "Report", "Samples", "Settings", "check_output", "quantize"]
