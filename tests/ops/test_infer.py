from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import devices
from devices.engine import ModelInfo
from devices.spec import RecordsSpec, TensorSpec, TensorsSpec
from ops.contract import OperatorError, SpecError
from ops.nn.infer import Infer
from ops.testing import HeapContext, frame, run
from ops.value import Tensors

SHAPE = (1, 3, 4, 6)
SPEC = TensorSpec("float32", SHAPE)
TRANSFORM = np.array([[2.0, 0.0, 3.0], [0.0, 2.0, 5.0]])


@pytest.fixture
def model(scale_model: Path) -> ModelInfo:
    return devices.inspect(scale_model).as_model()


def test_outputs_are_the_model_s(model: ModelInfo) -> None:
    assert Infer(model=model).infer({"tensors": TensorsSpec((("x", SPEC),))}) == {"tensors": TensorsSpec((("y", SPEC),))}


def test_outputs_stay_in_the_domain_of_the_inputs(model: ModelInfo) -> None:
    assert Infer(model=model).infer({"tensors": TensorsSpec((("x", SPEC),), "fake")})["tensors"].domain == "fake"


@pytest.mark.parametrize(
    "tensors",
    [
        (("z", SPEC),),
        (("x", TensorSpec("uint8", SHAPE)),),
        (("x", TensorSpec("float32", (1, 3, 6, 4))),),
        (("x", SPEC), ("z", SPEC)),
        (),
    ],
)
def test_a_mismatch_shows_both_sides(model: ModelInfo, tensors: tuple[tuple[str, TensorSpec], ...]) -> None:
    got = TensorsSpec(tensors)
    with pytest.raises(SpecError) as refused:
        Infer(model=model).infer({"tensors": got})
    assert (refused.value.port, refused.value.expected, refused.value.got) == ("tensors", "tensors {x: float32[1x3x4x6]}", str(got))


def test_other_kinds_are_refused(model: ModelInfo) -> None:
    with pytest.raises(SpecError, match="port tensors: expected tensors"):
        Infer(model=model).infer({"tensors": RecordsSpec("detections", 5)})


def test_a_model_is_needed() -> None:
    with pytest.raises(SpecError, match="port model: expected a model, got none"):
        Infer().infer({"tensors": TensorsSpec((("x", SPEC),))})


def test_where_it_runs_is_no_part_of_what_it_does() -> None:
    assert Infer.placement == {"device", "engine"}
    assert Infer.needs_model
    assert set(Infer.Config.model_fields) - Infer.placement == {"precision"}


def test_run(model: ModelInfo) -> None:
    array = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    found = run(Infer(model=model), tensors=Tensors({"x": array}, TRANSFORM))
    assert np.array_equal(found.arrays["y"], array * 3)
    assert found.transform is TRANSFORM


def test_results_outlive_the_next_run(model: ModelInfo) -> None:
    """The items of a list are computed one after another and go on together."""
    operator = Infer(model=model)
    found = [run(operator, tensors=Tensors({"x": np.full(SHAPE, value, np.float32)})) for value in range(3)]
    assert [tensors.arrays["y"].flat[0] for tensors in found] == [0, 3, 6]


def test_results_lie_in_the_memory_it_was_given(model: ModelInfo) -> None:
    given: list[Tensors] = []

    class Slots(HeapContext):
        def tensors(self, port: str, spec: TensorsSpec, index: int = 0) -> Tensors:
            given.append(super().tensors(port, spec, index))
            return given[-1]

    operator = Infer(model=model)
    operator.infer({"tensors": TensorsSpec((("x", SPEC),))})
    operator.open(Slots())
    found = run(operator, tensors=Tensors({"x": np.ones(SHAPE, np.float32)}))
    assert found is given[0]
    assert (given[0].arrays["y"] == 3).all()


class TestSeveralFrames:
    @pytest.fixture
    def batch(self, save_model: Callable[..., Path]) -> ModelInfo:
        shape = ["n", 2]
        path = save_model(
            [helper.make_node("Mul", ["x", "three"], ["y"])], [("x", "float32", shape)], [("y", "float32", shape)],
            {"three": np.float32([3])},
        )  # fmt: skip
        return devices.inspect(path).as_model()

    @staticmethod
    def opened(model: ModelInfo) -> Infer:
        operator = Infer(model=model)
        operator.open(HeapContext())
        return operator

    @staticmethod
    def run(operator: Infer, count: int) -> list[Tensors]:
        given = [{"tensors": Tensors({"x": np.full((1, 2), place, np.float32)}, TRANSFORM + place)} for place in range(count)]
        return operator.run_many([frame(0, f"s{place}") for place in range(count)], given)

    def test_an_open_batch_is_one_call(self, batch: ModelInfo) -> None:
        operator = self.opened(batch)
        assert operator.batching() == batch.batch
        calls: list[int] = []
        session = operator._session

        class Counting:
            def run(self, x, y):
                calls.append(len(x["x"]))
                return session.run(x, y)

        operator._session = Counting()  # type: ignore[assignment]
        for count in (3, 2, 5, 1):
            found = self.run(operator, count)
            assert [tensors.arrays["y"].tolist() for tensors in found] == [[[3 * place, 3 * place]] for place in range(count)]
            assert [tensors.transform[0, 2] for tensors in found] == [3 + place for place in range(count)]
        assert calls == [3, 2, 5, 1]

    def test_a_fixed_batch_runs_one_after_another(self, batch: ModelInfo) -> None:
        operator = self.opened(replace(batch, batch=None))
        assert operator.batching() is None
        assert [tensors.arrays["y"].tolist() for tensors in self.run(operator, 3)] == [[[3 * place, 3 * place]] for place in range(3)]

    def test_a_model_that_cannot_do_what_its_file_says_is_not_asked_again(self, save_model: Callable[..., Path]) -> None:
        path = save_model(
            [helper.make_node("Reshape", ["x", "two"], ["y"])], [("x", "float32", ["n", 2])], [("y", "float32", ["n", 2])],
            {"two": np.int64([1, 2])},
        )  # fmt: skip
        operator = self.opened(devices.inspect(path).as_model())
        with pytest.raises(OperatorError, match="the run failed"):
            self.run(operator, 2)
        assert [tensors.arrays["y"].tolist() for tensors in self.run(operator, 2)] == [[[0, 0]], [[1, 1]]]


def test_nodes_share_the_session_of_their_worker(model: ModelInfo) -> None:
    asked: list[ModelInfo] = []

    class Worker(HeapContext):
        def session(self, model: ModelInfo):
            asked.append(model)
            return super().session(model)

    worker = Worker()
    for _ in range(2):
        operator = Infer(model=model)
        operator.open(worker)
    assert asked == [model, model]


def test_a_run_that_fails_drops_the_frame(save_model: Callable[..., Path]) -> None:
    path = save_model(
        [
            helper.make_node("Cast", ["x"], ["n"], to=onnx.TensorProto.INT64),
            helper.make_node("Add", ["n", "one"], ["m"]),
            helper.make_node("Expand", ["v", "m"], ["y"]),
        ],
        [("x", "float32", [1])], [("y", "float32", ["k"])], {"one": np.int64([2]), "v": np.float32([1])},
    )  # fmt: skip
    operator = Infer(model=devices.inspect(path).as_model())
    with pytest.raises(OperatorError, match="the run failed"):
        run(operator, tensors=Tensors({"x": np.float32([3])}))
    assert run(operator, tensors=Tensors({"x": np.float32([0])})).arrays["y"].tolist() == [1, 1]


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="threads"):
        Infer.Config.model_validate({"threads": 3})


def test_real_model_equals_the_bare_library(data: Path) -> None:
    import onnxruntime

    path = data / "models" / "palm_detection_lite.onnx"
    array = np.random.default_rng(0).random((1, 192, 192, 3), np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    bare = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"input_1": array})
    model = replace(devices.inspect(path).as_model(), name="palm")
    found = run(Infer(model=model), tensors=Tensors({"input_1": array}))
    assert all(np.array_equal(a, b) for a, b in zip(bare, found.arrays.values(), strict=True))
