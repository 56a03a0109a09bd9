from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

from devices.engine import Batching, EngineError, ModelInfo
from devices.model import inspect, model_info
from manifests.deployment import Position, ResolvedModel
from manifests.schema.model import Model

Make = Callable[..., ModelInfo]


@pytest.fixture
def info(save_model: Callable[..., Path]) -> Make:
    """ModelInfo of a model that takes `x` of this shape, with these words in its manifest's input section."""

    def make(shape: list[Any], dtype: str = "float32", dims: dict[str, int] | None = None, **input: Any) -> ModelInfo:
        path = save_model([helper.make_node("Identity", ["x"], ["y"])], [("x", dtype, shape)], [("y", dtype, shape)])
        return model_info(resolve(path, input, dims or {}))

    return make


def resolve(
    path: Path, input: dict[str, Any] | None, dims: dict[str, int], labels: tuple[str, ...] = ("a", "b"), batch: Any = None
) -> ResolvedModel:
    document = {"name": "m", "version": "1.2.3", "file": path.name, "input": input, "dims": dims, "batch": batch}
    manifest = Model.model_validate(document)
    return ResolvedModel(manifest, path, "0" * 64, labels, Position("m.yaml", 3))


@pytest.mark.parametrize(
    ("batch", "shape", "expected"),
    [
        (None, ["n", 3, 4, 6], Batching(8, 0.0, "n")),
        ({"most": 4, "delay_ms": 5}, ["n", 3, 4, 6], Batching(4, 5.0, "n")),
        ({"most": 1}, ["n", 3, 4, 6], None),
        ({"most": 1}, [1, 3, 4, 6], None),
        (None, [1, 3, 4, 6], None),
    ],
)
def test_how_frames_go_together(save_model: Callable[..., Path], batch: Any, shape: list[Any], expected: Batching | None) -> None:
    path = save_model([helper.make_node("Identity", ["x"], ["y"])], [("x", "float32", shape)], [("y", "float32", shape)])
    assert model_info(resolve(path, {}, {}, batch=batch)).batch == expected


def test_batches_of_a_file_that_fixes_them_are_refused(save_model: Callable[..., Path]) -> None:
    path = save_model([helper.make_node("Identity", ["x"], ["y"])], [("x", "float32", [1, 3, 4, 6])], [("y", "float32", [1, 3, 4, 6])])
    with pytest.raises(EngineError, match="batch: expected a file whose inputs and outputs leave their first dimension open"):
        model_info(resolve(path, {}, {}, batch={"delay_ms": 5}))


def refusal(info: Make, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(EngineError) as refused:
        info(*args, **kwargs)
    assert str(refused.value).startswith("model m (model.onnx): ")
    return str(refused.value)


@pytest.mark.parametrize(
    ("shape", "format", "layout", "size"),
    [
        ([1, 3, 240, 320], "bgr24", "nchw", (320, 240)),
        ([1, 240, 320, 3], "rgb24", "nhwc", (320, 240)),
        ([1, 1, 28, 30], "gray8", "nchw", (30, 28)),
        ([1, 28, 30, 1], "gray8", "nhwc", (30, 28)),
        (["batch", 3, 8, 9], "rgb24", "nchw", (9, 8)),
        ([1, 3, 3, 5], "rgb24", "nchw", (5, 3)),
    ],
)
def test_layout_and_size_come_from_the_file(info: Make, shape: list[Any], format: str, layout: str, size: tuple[int, int]) -> None:
    pixels = info(shape, format=format).input
    assert pixels is not None
    assert (pixels.layout, (pixels.width, pixels.height), pixels.tensor, pixels.dtype) == (layout, size, "x", "float32")


def test_manifest_travels_on(info: Make) -> None:
    found = info([1, 3, 4, 4], format="bgr24", fit="stretch", align="center", pad=114, mean=[1, 2, 3], std=[4, 5, 6])
    assert found.input is not None
    assert (found.input.fit, found.input.align, found.input.pad, found.input.mean, found.input.std) == (
        "stretch", "center", 114, (1, 2, 3), (4, 5, 6),
    )  # fmt: skip
    assert (found.name, found.version, found.labels) == ("m", "1.2.3", ("a", "b"))
    assert len(found.digest) == 64
    assert set(found.digest) != {"0"}


def test_gray_has_one_mean(info: Make) -> None:
    pixels = info([1, 1, 4, 4], format="gray8").input
    assert pixels is not None
    assert (pixels.mean, pixels.std) == ((0.0,), (1.0,))


def test_no_pictures(scale_model: Path) -> None:
    assert model_info(resolve(scale_model, None, {})).input is None


@pytest.mark.parametrize(
    ("op", "reads", "said"), [("Wobble", "x", "onnxruntime: it lacks Wobble"), ("Relu", "q", "'q' is not a graph input")]
)
def test_graph_that_no_engine_takes(save_model: Callable[..., Path], op: str, reads: str, said: str) -> None:
    path = save_model([helper.make_node(op, [reads], ["y"])], [("x", "float32", [2])], [("y", "float32", [2])])
    with pytest.raises(EngineError, match=said):
        model_info(resolve(path, None, {}))


def test_graph_that_only_an_engine_knows(save_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model([helper.make_node("Wobble", ["x"], ["y"])], [("x", "float32", [2])], [("y", "float32", [2])])
    monkeypatch.setattr("devices.engines.onnxruntime.OnnxRuntime.lacks", lambda self, path: ())
    assert model_info(resolve(path, None, {})).outputs[0][0] == "y"


@pytest.mark.parametrize("shape", [[1, 3, "height", "width"], [1, 3, None, None], ["n", "c", "height", "width"]])
def test_open_size_comes_from_the_manifest(info: Make, shape: list[Any]) -> None:
    found = info(shape, size=(32, 16), layout="nchw")
    assert found.input is not None
    assert (found.input.width, found.input.height) == (32, 16)
    assert found.inputs[0][1].shape == (1, 3, 16, 32)


def test_open_size_comes_from_dims(info: Make) -> None:
    found = info([1, 3, "height", "width"], dims={"height": 16, "width": 32})
    assert found.input is not None
    assert (found.input.width, found.input.height) == (32, 16)


def test_open_size_is_asked_for(info: Make) -> None:
    assert "`input.size: [width, height]`" in refusal(info, [1, 3, "height", "width"])


def test_size_differs_from_the_file(info: Make) -> None:
    assert "input.size: expected 6 at dimension 3 of 'x', got 7 (size 7x4)" in refusal(info, [1, 3, 4, 6], size=(7, 4))


def test_size_differs_from_dims(info: Make) -> None:
    assert "expected 4 at dimension 2" in refusal(info, [1, 3, "h", "w"], size=(7, 5), dims={"h": 4})


def test_width_and_height_of_one_name(info: Make) -> None:
    assert "input.size" in refusal(info, [1, 3, "size", "size"], size=(7, 5))
    assert info([1, 3, "size", "size"], size=(7, 7)).inputs[0][1].shape == (1, 3, 7, 7)


def test_channels_do_not_fit_the_format(info: Make) -> None:
    assert "expected 1 (gray8) at dimension 1 or at dimension 3, got [1, 3, 4, 6]" in refusal(info, [1, 3, 4, 6], format="gray8")


def test_ambiguous_layout(info: Make) -> None:
    assert "set `input.layout`" in refusal(info, [1, 3, 5, 3])
    pixels = info([1, 3, 5, 3], layout="nhwc").input
    assert pixels is not None
    assert (pixels.width, pixels.height) == (5, 3)


def test_layout_does_not_fit(info: Make) -> None:
    assert "expected 3 channels (rgb24, nhwc) at dimension 3" in refusal(info, [1, 3, 4, 6], layout="nhwc")


@pytest.mark.parametrize("shape", [[3, 4, 6], [1, 3], [1, 3, 4, 6, 1]])
def test_not_a_picture(info: Make, shape: list[int]) -> None:
    assert "expected 4 dimensions" in refusal(info, shape)


def test_several_pictures_at_once(info: Make) -> None:
    assert "expected a batch of 1" in refusal(info, [4, 3, 4, 6])
    assert "expected a batch of 1" in refusal(info, ["batch", 3, 4, 6], dims={"batch": 4})


def test_tensor_is_named(info: Make) -> None:
    assert "expected one of x, got 'xx'; did you mean 'x'?" in refusal(info, [1, 3, 4, 6], tensor="xx")


def test_bytes_are_not_normalised(info: Make) -> None:
    pixels = info([1, 3, 4, 6], "uint8").input
    assert pixels is not None
    assert pixels.dtype == "uint8"
    assert "mean 0 and std 1" in refusal(info, [1, 3, 4, 6], "uint8", std=[255, 255, 255])


def test_dtype_that_takes_no_pixels(info: Make) -> None:
    assert "expected float32 or uint8 for pixels, got int64" in refusal(info, [1, 3, 4, 6], "int64")


def test_real_model_of_open_size(data: Path) -> None:
    path = data / "models" / "yunet_n_dynamic.onnx"
    found = model_info(resolve(path, {"format": "bgr24", "size": (640, 320)}, {}))
    assert found.dims == (("batch", 1), ("height", 320), ("width", 640))
    assert found.outputs == inspect(path, dims={"height": 320, "width": 640}).outputs
