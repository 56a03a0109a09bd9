"""Whole models: what is written runs on both engines and is near its original; bad input is said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import devices
from devices.engine import EngineError
from devices.native import operators as ops
from devices.native import programs
from devices.native.compiler import load_graph
from devices.native.isa import best
from devices.native.passes import optimize
from devices.quantize import Samples, Settings, quantize
from devices.quantize.measure import compare
from devices.quantize.network import read_network
from devices.quantize.plan import Choices, Scheme
from devices.quantize.units import find_units
from devices.quantize.weights import is_pair_safe

Make = Callable[..., Path]
Taken = Callable[..., Samples]
SHAPE = (1, 3, 12, 12)
SILU = {"ranges": "mse", "smooth": "off", "equalize": "off"}


def outputs(path: Path, samples: Samples, engine: str, precision: str = "exact") -> list[dict[str, np.ndarray]]:
    session = devices.load(path, engine=engine, precision=precision)
    try:
        return [{name: array.copy() for name, array in session.run(sample).items()} for sample in samples]
    finally:
        session.close()


def test_the_written_model_runs_on_both_engines_and_is_near(network: Make, samples: Taken, tmp_path: Path) -> None:
    given, path = samples(20), tmp_path / "q.onnx"
    report = quantize(network(), path, given)
    told = outputs(network(), given, "onnxruntime", "auto")
    theirs, ours = outputs(path, given, "onnxruntime"), outputs(path, given, "native")
    assert compare(zip(told, theirs, strict=True)).worst_db > 30
    assert compare(zip(theirs, ours, strict=True)).worst_db > 30
    assert report.kept_float == ()
    assert report.accuracy.top1 == 1
    assert [layer.name for layer in report.layers] == ["stem", "depthwise", "project", "side", "last", "classify"]
    assert all(layer.weight_sqnr_db is not None and layer.weight_sqnr_db > 30 for layer in report.layers)
    assert (report.calibrated_on, report.held_out) == (16, 4)
    json.dumps(report.document(), allow_nan=False)


def test_the_native_engine_computes_on_bytes(network: Make, samples: Taken, tmp_path: Path) -> None:
    quantize(network(), tmp_path / "q.onnx", samples(), Settings(keep_float=(), **SILU))  # type: ignore[arg-type]
    kinds = Counter(type(node.op) for node in optimize(load_graph(tmp_path / "q.onnx", {})).nodes)
    assert (kinds[ops.QConv], kinds[ops.QDense], kinds[ops.QAdd], kinds[ops.QMean]) == (5, 1, 1, 1)
    assert kinds[ops.Table] == 2, "SiLU, and the join's own scale"
    assert (kinds[ops.Quantize], kinds[ops.Dequantize], kinds[ops.Softmax]) == (1, 1, 1)


def test_residual_sums_and_results_stay_real_over_products_of_bytes(network: Make, samples: Taken, tmp_path: Path) -> None:
    given, path = samples(20), tmp_path / "q.onnx"
    scheme = Scheme(read_network(network()), Settings(), {})
    scheme.observe(lambda: iter(given), lambda: None)
    onnx.save(scheme.write(Choices("mse", real="sums")).model, path)
    kinds = Counter(type(node.op) for node in optimize(load_graph(path, {})).nodes)
    assert (kinds[ops.QAdd], kinds[ops.RealConv], kinds[ops.RealDense], kinds[ops.QConv]) == (0, 1, 1, 4)
    theirs, ours = outputs(path, given, "onnxruntime"), outputs(path, given, "native")
    assert compare(zip(theirs, ours, strict=True)).worst_db > 30


def test_what_stays_float_keeps_to_its_share_of_time(network: Make, samples: Taken, tmp_path: Path) -> None:
    none, some = (
        quantize(network(), tmp_path / "q.onnx", samples(20), Settings(float_share=share, **SILU))  # type: ignore[arg-type]
        for share in (0, 1.3)
    )
    assert (none.kept_float, none.real, none.float_share) == ((), "nothing", 0)
    assert 0 < len(some.kept_float) < 6
    assert 0 < some.float_share <= 1.3
    assert none.accuracy.mean_db < some.accuracy.mean_db


def test_the_written_model_is_standard_onnx_without_useless_pairs(network: Make, samples: Taken, tmp_path: Path) -> None:
    quantize(network(), tmp_path / "q.onnx", samples(), Settings(**SILU))  # type: ignore[arg-type]
    model = onnx.load(tmp_path / "q.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    made = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("Relu", "Sigmoid", "Mul") and node.output[0] != "silu":
            before = [made[name].op_type for name in node.input if name in made]
            assert node.op_type != "Relu" or before in (["Conv"], ["Add"]), "an activation is rounded with its layer"
        if node.op_type == "Softmax":
            assert "QuantizeLinear" not in {other.op_type for other in model.graph.node if node.output[0] in other.input}


def test_the_same_input_gives_the_same_file(network: Make, samples: Taken, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        quantize(network(), tmp_path / name, samples())
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_pair_safe_files_are_pair_safe(network: Make, samples: Taken, tmp_path: Path) -> None:
    quantize(network(), tmp_path / "q.onnx", samples(), Settings(pair_safe=True))
    model = onnx.load(tmp_path / "q.onnx")
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    layers = [unit.layer for unit in find_units(read_network(network())) if unit.layer is not None]
    for layer in layers:
        assert is_pair_safe(layer, stored[f"{layer.name}/weight/stored"]) or layer.group > 1


def test_pair_safe_files_run_on_the_kernels_that_add_in_pairs(network: Make, samples: Taken, tmp_path: Path) -> None:
    if best().dot != "pmaddwd":
        pytest.skip("this processor adds four products at once")
    given = samples(10)
    for safe in (False, True):
        path = tmp_path / f"{safe}.onnx"
        settings = Settings(pair_safe=safe, keep_float=(), **SILU)  # type: ignore[arg-type]
        quantize(network(), path, given, settings)
        made = programs.load(devices.inspect(path).as_model())
        used = {made.kernels[call[0]] for call in made.variants[1].calls.tolist()}
        assert any(name.endswith("_pairsafe") for name in used) == safe
        theirs, ours = outputs(path, given, "onnxruntime"), outputs(path, given, "native")
        assert compare(zip(theirs, ours, strict=True)).worst_db > 30


def test_layers_kept_float_by_name(network: Make, samples: Taken, tmp_path: Path) -> None:
    report = quantize(network(), tmp_path / "q.onnx", samples(), Settings(keep_float=("depthwise",)))
    assert report.kept_float == ("depthwise",)
    with pytest.raises(EngineError, match="did you mean 'depthwise'"):
        quantize(network(), tmp_path / "q.onnx", samples(), Settings(keep_float=("depthwize",)))


def test_layers_are_kept_float_until_the_bar_holds(network: Make, samples: Taken, tmp_path: Path) -> None:
    plain = quantize(network(), tmp_path / "q.onnx", samples(), Settings(keep_float=(), **SILU))  # type: ignore[arg-type]
    bar = plain.accuracy.worst_db + 1
    report = quantize(network(), tmp_path / "q.onnx", samples(), Settings(min_sqnr_db=bar, float_share=0, **SILU))  # type: ignore[arg-type]
    assert report.accuracy.worst_db >= bar
    assert 0 < len(report.kept_float) < 6


def test_auto_takes_the_best_that_it_tried(network: Make, samples: Taken, tmp_path: Path) -> None:
    report = quantize(network(), tmp_path / "q.onnx", samples(20))
    assert {"minmax", "percentile", "mse", "kl", "smoothed, mse", "bias correction"} <= report.tried.keys()
    assert report.accuracy.mean_db >= max(report.tried.values()) - 0.06


def uneven(save_model: Make, *, stream: bool) -> Path:
    """Layers with the channels between them a hundred times apart; `stream`: with a residual connection around one of them."""
    random = np.random.default_rng(2)
    sizes = np.geomspace(0.02, 2, 8, dtype=np.float32)
    first, last = random.normal(0, 0.5, (8, 3, 1, 1)).astype(np.float32), random.normal(0, 0.5, (4, 8, 1, 1)).astype(np.float32)
    inner = random.normal(0, 0.3, (8, 8, 1, 1)).astype(np.float32)
    node = helper.make_node
    nodes = [node("Conv", ["x", "w1", "b1"], ["a"], "first")]
    if stream:
        nodes += [node("Conv", ["a", "w2"], ["b"], "inner"), node("Add", ["a", "b"], ["s"])]
    else:
        nodes += [node("Relu", ["a"], ["s"])]
    nodes += [node("Conv", ["s", "w3"], ["y"], "last")]
    constants = {
        "w1": first * sizes.reshape(8, 1, 1, 1), "b1": 0.1 * sizes, "w3": last / sizes.reshape(1, 8, 1, 1),
        "w2": inner * sizes.reshape(8, 1, 1, 1) / sizes.reshape(1, 8, 1, 1),
    }  # fmt: skip
    if not stream:
        del constants["w2"]
    return save_model(nodes, [("x", "float32", SHAPE)], [("y", "float32", (1, 4, 12, 12))], constants, opset=13)


@pytest.mark.parametrize(("how", "stream"), [("smooth", False), ("smooth", True), ("equalize", False)])
def test_scaling_channels_changes_nothing_in_float_and_helps_where_they_differ(
    save_model: Make, samples: Taken, tmp_path: Path, how: str, stream: bool
) -> None:
    path = uneven(save_model, stream=stream)
    given = samples(20)
    scheme = Scheme(read_network(path), Settings(), {})
    scheme.observe(lambda: iter(given), lambda: None)
    changed = scheme.smoothed() if how == "smooth" else scheme.equalized()
    assert changed is not None
    onnx.save(changed.float_model(), tmp_path / "changed.onnx")
    told, same = (outputs(each, given, "onnxruntime", "auto") for each in (path, tmp_path / "changed.onnx"))
    assert compare(zip(told, same, strict=True)).worst_db > 100
    plain = {"smooth": "off", "equalize": "off", "ranges": "mse", "correct_bias": "off"}
    before = quantize(path, tmp_path / "q.onnx", given, Settings(**plain))  # type: ignore[arg-type]
    after = quantize(path, tmp_path / "q.onnx", given, Settings(**{**plain, how: "on"}))  # type: ignore[arg-type]
    assert after.accuracy.worst_db > before.accuracy.worst_db + 6


def test_bias_correction_takes_the_mean_error_away(save_model: Make, samples: Taken, tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(0, 1, (4, 3, 1, 1)).astype(np.float32)
    weight[:, 0] = 60  # coarse steps for the others
    path = save_model(
        [helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"], "conv")],
        [("x", "float32", (1, 3, 12, 12))], [("y", "float32", (1, 4, 12, 12))], {"w": weight}, opset=13,
    )  # fmt: skip
    given = samples(20)
    scheme = Scheme(read_network(path), Settings(), {})
    scheme.observe(lambda: iter(given), lambda: None)
    told = outputs(path, given, "onnxruntime", "auto")
    shifts = []
    for correct in (False, True):
        onnx.save(scheme.write(Choices("minmax", correct)).model, tmp_path / "q.onnx")
        got = outputs(tmp_path / "q.onnx", given, "onnxruntime")
        shifts.append(np.abs(np.mean([b["y"] - a["y"] for a, b in zip(told, got, strict=True)], axis=(0, 1, 3, 4))).max())
    assert shifts[1] < 0.5 * shifts[0]


def linear(save_model: Make, **more: Any) -> Path:
    values: dict[str, Any] = {"dtype": "float32", "op": "Conv", "weight": np.ones((4, 3, 1, 1), np.float32), **more}
    return save_model(
        [helper.make_node(values["op"], ["x", "w"] if values["op"] == "Conv" else ["x"], ["y"], "only")],
        [("x", values["dtype"], (1, 3, 12, 12))], [("y", values["dtype"], (1, 4 if values["op"] == "Conv" else 3, 12, 12))],
        {"w": values["weight"]}, opset=13,
    )  # fmt: skip


def test_one_layer_is_quantized_and_weights_of_nothing_do_no_harm(save_model: Make, samples: Taken, tmp_path: Path) -> None:
    report = quantize(linear(save_model, weight=np.zeros((4, 3, 1, 1), np.float32)), tmp_path / "q.onnx", samples())
    assert not outputs(tmp_path / "q.onnx", samples(2), "onnxruntime")[0]["y"].any()
    assert len(report.layers) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"op": "Relu"}, "convolution or product"),
        ({"dtype": "float16", "weight": np.ones((4, 3, 1, 1), np.float16)}, "expected float32, got float16"),
        ({"weight": np.full((4, 3, 1, 1), np.nan, np.float32)}, "none to quantize"),
        ({"weight": np.full((4, 3, 1, 1), 3e38, np.float32)}, "finite"),
    ],
)
def test_models_that_cannot_be_quantized(save_model: Make, samples: Taken, tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        quantize(linear(save_model, **more), tmp_path / "q.onnx", samples())
    assert not (tmp_path / "q.onnx").exists()


def test_a_quantized_model_is_refused(network: Make, samples: Taken, tmp_path: Path) -> None:
    quantize(network(), tmp_path / "q.onnx", samples())
    with pytest.raises(EngineError, match="quantized already"):
        quantize(tmp_path / "q.onnx", tmp_path / "again.onnx", samples())


def test_a_damaged_model_is_refused(network: Make, samples: Taken, tmp_path: Path) -> None:
    whole = network().read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match=r"half\.onnx"):
        quantize(tmp_path / "half.onnx", tmp_path / "q.onnx", samples())


def test_the_input_is_never_overwritten(network: Make, samples: Taken, tmp_path: Path) -> None:
    path = network()
    before = path.read_bytes()
    (tmp_path / "link.onnx").symlink_to(path)
    for target in (path, tmp_path / "link.onnx"):
        with pytest.raises(EngineError, match="choose another name"):
            quantize(path, target, samples())
    with pytest.raises(EngineError, match="make it first"):
        quantize(path, tmp_path / "none" / "q.onnx", samples())
    with pytest.raises(EngineError, match="a folder"):
        quantize(path, tmp_path, samples())
    assert path.read_bytes() == before


def test_a_write_that_fails_leaves_what_was_there(network: Make, samples: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "q.onnx"
    target.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EngineError, match="No space left"):
        quantize(network(), target, samples())
    assert target.read_bytes() == b"old"
    assert not list(tmp_path.glob(".q.onnx*"))
