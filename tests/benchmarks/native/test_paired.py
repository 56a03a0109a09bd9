"""MobileNetV2 1.0 224 and a dense detector, 8-bit and float32, one core and two; then every published model beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.devices.published import DIMS, MODELS

from .paired import Bar, Contestant, measure, show

pytestmark = [pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]

MACS = 300.8e6
"""Multiply-adds of MobileNetV2 1.0 224."""

Once = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def bench(data: Path) -> Path:
    return data / "models" / "bench"


def test_8_bit_on_one_core(run: Once, bench: Path, quantized: Path, tmp_path: Path) -> None:
    """Peers that saturate get the file as it stands where they read it (ONNX Runtime), and the one of `ace quantize`."""
    file, ours = str(bench / "mbv2_qop_u8s8pc.onnx"), str(quantized)
    found = run(lambda: measure([
        Contestant("native, file as it stands", "native", file), Contestant("ONNX Runtime exact", "exact", file),
        Contestant("ONNX Runtime saturating", "onnxruntime", file), Contestant("native, ace quantize", "native", ours),
        Contestant("ONNX Runtime saturating, ace quantize", "onnxruntime", ours), Contestant("OpenVINO, ace quantize", "openvino", ours),
        Contestant("LiteRT, its own file", "litert", str(bench / "mbv2_int8.tflite")),
    ], tmp_path))  # fmt: skip
    peers = ("ONNX Runtime saturating", "ONNX Runtime saturating, ace quantize", "OpenVINO, ace quantize", "LiteRT, its own file")
    mine, quick, bound = "native, file as it stands", "native, ace quantize", 1e3 * MACS / (2 * found.fma)
    show("MobileNetV2, 8 bits, one core", found, [
        ("exact, the file as it stands / ONNX Runtime exact (stretch 0.60)", found.ratio(mine, "ONNX Runtime exact"), Bar(0.65)),
        ("exact, the file as it stands / ONNX Runtime saturating", found.ratio(mine, "ONNX Runtime saturating"), Bar()),
        ("exact, the file as it stands / best saturating peer (stretch 0.85)", found.ratio(mine, *peers), Bar(0.92)),
        ("ace quantize / best saturating peer", found.ratio(quick, *peers), Bar(0.80)),
        (f"exact, the file as it stands / bound of {bound:.2f} ms", found.median_ms(mine) / bound, Bar()),
        (f"ace quantize / bound of {bound:.2f} ms", found.median_ms(quick) / bound, Bar()),
    ])  # fmt: skip
    assert found.error["ONNX Runtime exact"] == (mine, float("inf"))


def test_8_bit_on_two_cores(run: Once, bench: Path, quantized: Path, tmp_path: Path) -> None:
    file, ours = str(bench / "mbv2_qop_u8s8pc.onnx"), str(quantized)
    found = run(lambda: measure([
        Contestant("native, one core", "native", file), Contestant("native, two cores", "native", file, 2),
        Contestant("native, ace quantize, one core", "native", ours), Contestant("native, ace quantize, two cores", "native", ours, 2),
        Contestant("ONNX Runtime exact, two cores, not spinning", "exact", file, 2),
    ], tmp_path))  # fmt: skip
    show("MobileNetV2, 8 bits, two cores", found, [
        ("exact, two cores / one", found.ratio("native, two cores", "native, one core"), Bar(0.55)),
        ("ace quantize, two cores / one", found.ratio("native, ace quantize, two cores", "native, ace quantize, one core"), Bar(0.55)),
        (
            "exact / ONNX Runtime exact, both on two cores, the peer not spinning",
            found.ratio("native, two cores", "ONNX Runtime exact, two cores, not spinning"), Bar(),
        ),
    ])  # fmt: skip
    assert found.error["native, two cores"][1] == float("inf")


def test_8_bit_detector(run: Once, bench: Path, tmp_path: Path) -> None:
    file = str(bench / "det320_qdq_u8s8pc.onnx")
    found = run(lambda: measure([
        Contestant("native", "native", file), Contestant("OpenVINO", "openvino", file), Contestant("ONNX Runtime exact", "exact", file),
        Contestant("ONNX Runtime saturating", "onnxruntime", file),
    ], tmp_path))  # fmt: skip
    peers = ("OpenVINO", "ONNX Runtime exact", "ONNX Runtime saturating")
    show("Dense detector 320, 8 bits, one core", found, [
        (f"exact / {peer}", found.ratio("native", peer), Bar(0.90) if peer == "OpenVINO" else Bar()) for peer in found.there(*peers)
    ])  # fmt: skip


@pytest.mark.parametrize("model", ["mbv2_fp32", "det320_fp32"])
def test_float32(run: Once, bench: Path, tmp_path: Path, model: str) -> None:
    file, lite = str(bench / f"{model}.onnx"), bench / f"{model}.tflite"
    contestants = [
        Contestant("native", "native", file),
        Contestant("ONNX Runtime", "onnxruntime", file),
        Contestant("OpenVINO", "openvino", file),
    ]
    if lite.exists():
        contestants.append(Contestant("LiteRT", "litert", str(lite)))
    found = run(lambda: measure(contestants, tmp_path))
    peers = found.there("ONNX Runtime", "OpenVINO", "LiteRT")
    every = [(f"native / {peer}", found.ratio("native", peer), Bar()) for peer in peers]
    show(f"{model}, one core", found, [*every, ("native / best of them", found.ratio("native", *peers), Bar(1.0))])
    assert found.error["ONNX Runtime"][1] > 80


def test_8_bit_beside_float32(run: Once, data: Path, bench: Path, quantized: Path, tmp_path: Path) -> None:
    """The best float32 peer's time over ours."""
    file, real = str(bench / "mbv2_qop_u8s8pc.onnx"), str(bench / "mbv2_fp32.onnx")
    found = run(lambda: measure([
        Contestant("native, file as it stands", "native", file), Contestant("native, ace quantize", "native", str(quantized)),
        Contestant("native, file as it stands, two cores", "native", file, 2),
        Contestant("native, ace quantize, two cores", "native", str(quantized), 2), Contestant("ONNX Runtime", "onnxruntime", real),
        Contestant("OpenVINO", "openvino", real), Contestant("LiteRT", "litert", str(bench / "mbv2_fp32.tflite")),
    ], tmp_path))  # fmt: skip
    peers = ("ONNX Runtime", "OpenVINO", "LiteRT")
    bars = {"file as it stands": 1.5, "ace quantize": 1.7, "file as it stands, two cores": 3.0, "ace quantize, two cores": 3.0}
    show("MobileNetV2, best float32 peer on one core", found, [
        (f"its time / {name}", 1 / found.ratio(f"native, {name}", *peers), Bar(least=bar)) for name, bar in bars.items()
    ])  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_published_models(run: Once, data: Path, tmp_path: Path, name: str) -> None:
    """At most 1.1 x ONNX Runtime, which is exact, where the engine covers them."""
    file = str(data / "models" / f"{name}.onnx")
    both = [Contestant("native", "native", file, dims=DIMS.get(name)), Contestant("ONNX Runtime", "exact", file, dims=DIMS.get(name))]
    found = run(lambda: measure(both, tmp_path))
    show(name, found, [(f"{name}: native / ONNX Runtime", found.ratio("native", "ONNX Runtime"), Bar(1.1))])
