"""How much smaller MobileNetV2 is as `ace quantize` writes it than in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from devices.native.assemble import assembled
from devices.native.compiler import compile_model
from devices.native.isa import best


def test_memory(run: Callable[..., Any], data: Path, quantized: Path) -> None:
    """Bar of model memory: -74 %."""
    paths = (data / "models" / "mobilenetv2_12_fp32_derived.onnx", quantized)
    real, small = run(lambda: [sizes(path) for path in paths])
    print("\nMobileNetV2, bytes: float32, ace quantize")
    for name, before in real.items():
        print(f"  {name:56s} {before:12,d} {small[name]:12,d}   {100 * (small[name] / before - 1):+.1f} %   bar -74 %")
        assert small[name] < 0.3 * before


def sizes(path: Path) -> dict[str, int]:
    image = assembled(compile_model(path, {}), best())
    arena = image.variants[1].arena_bytes
    constants = (numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer)
    return {
        "weights, biases and scales of the file": sum(array.nbytes for array in constants if array.ndim),
        "file": path.stat().st_size,
        "native: packed weights and tables": image.nbytes,
        "native: values while it runs": arena,
        "native: both": image.nbytes + arena,
    }
