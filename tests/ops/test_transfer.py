from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.spec import PIXEL_FORMATS, ImageSpec, ManySpec, RecordsSpec, Spec, TensorSpec, TensorsSpec
from ops.contract import OperatorError, SpecError
from ops.memory.transfer import Transfer
from ops.testing import HeapContext, run
from ops.value import Image, Tensors

TRANSFORM = np.array([[2.0, 0.0, 3.0], [0.0, 2.0, 5.0]])

pytestmark = pytest.mark.usefixtures("fake_device")


def transfer(spec: Spec, to: str, **config: Any) -> Transfer:
    """The operator as a plan makes it, and ready to run."""
    operator = Transfer(Transfer.Config(to=to, **config))
    operator.infer({"value": spec})
    operator.open(HeapContext())
    return operator


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(width=st.integers(1, 9), height=st.integers(1, 9), format=st.sampled_from(PIXEL_FORMATS), seed=st.integers(0, 2**32 - 1))
def test_pictures_there_and_back(width: int, height: int, format: Any, seed: int) -> None:
    spec = ImageSpec(width, height, format, full_range=True, rotation=90)
    pixels = np.random.default_rng(seed).integers(0, 256, spec.nbytes).astype(np.uint8)
    up = transfer(spec, "fake")
    there = run(up, value=Image(spec, spec.split(pixels), TRANSFORM))
    assert there.spec == up.infer({"value": spec})["value"]
    assert there.spec.domain == "fake"
    assert all((plane == original ^ 0x5A).all() for plane, original in zip(there.planes, spec.split(pixels), strict=True))
    back = run(transfer(there.spec, "cpu"), value=there)
    assert back.spec == spec
    assert all((plane == original).all() for plane, original in zip(back.planes, spec.split(pixels), strict=True))
    assert (back.transform == TRANSFORM).all()


def test_tensors_there_and_back() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False]), "c": np.array(7, np.int64)}
    spec = TensorsSpec(tuple((name, TensorSpec(array.dtype.name, array.shape)) for name, array in arrays.items()))
    there = run(transfer(spec, "fake"), value=Tensors(arrays, TRANSFORM))
    assert not (there.arrays["a"] == arrays["a"]).any()
    back = run(transfer(TensorsSpec(spec.tensors, "fake"), "cpu"), value=there)
    assert all((back.arrays[name] == array).all() and back.arrays[name].dtype == array.dtype for name, array in arrays.items())
    assert (back.transform == TRANSFORM).all()


def test_specs_change_their_domain_only() -> None:
    spec = TensorsSpec((("a", TensorSpec("float32", (2, 3))),))
    assert Transfer(Transfer.Config(to="fake")).infer({"value": spec}) == {"value": TensorsSpec(spec.tensors, "fake")}


def test_source_from_the_config_alone() -> None:
    """A worker may open the operator without asking for its specs again."""
    spec = ImageSpec(4, 4, "gray8")
    up, down = Transfer(Transfer.Config(to="fake")), Transfer(Transfer.Config(to="cpu", source="fake"))
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert (run(down, value=run(up, value=Image(spec, (pixels,)))).planes[0] == pixels).all()


def test_unknown_source() -> None:
    with pytest.raises(OperatorError, match="expected `source`"):
        Transfer(Transfer.Config(to="cpu")).open(HeapContext())


@pytest.mark.parametrize(
    ("spec", "config", "said"),
    [
        (RecordsSpec("detections", 4), {"to": "fake"}, "expected an image or tensors"),
        (ManySpec(ImageSpec(4, 4, "gray8"), 3), {"to": "fake"}, "expected an image or tensors"),
        (ImageSpec(4, 4, "gray8"), {"to": "cpu"}, "another domain than cpu"),
        (ImageSpec(4, 4, "gray8", domain="fake"), {"to": "fake"}, "expected a value in cpu"),
        (ImageSpec(4, 4, "gray8", domain="other"), {"to": "fake"}, "expected a value in cpu"),
        (ImageSpec(4, 4, "gray8", domain="fake"), {"to": "cpu", "source": "other"}, "expected a value in other"),
        (ImageSpec(4, 4, "gray8"), {"to": "fak"}, "did you mean 'fake'"),
    ],
)
def test_what_does_not_fit(spec: Spec, config: dict[str, str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Transfer(Transfer.Config(**config)).infer({"value": spec})


def test_inference_on_the_other_device(scale_model: Path) -> None:
    """Up, infer, down gives what the cpu gives; without the transfers the data is wrong."""
    import devices
    from ops.nn.infer import Infer

    model = devices.inspect(scale_model).as_model()
    array = np.random.default_rng(0).standard_normal((1, 3, 4, 6)).astype(np.float32)
    spec = TensorsSpec(model.inputs)
    worker = HeapContext(engine="fake")
    infer = Infer(model=model)
    infer.open(worker)
    there = run(transfer(spec, "fake"), value=Tensors({"x": array}))
    found = run(transfer(TensorsSpec(model.outputs, "fake"), "cpu"), value=run(infer, tensors=there))
    assert np.array_equal(found.arrays["y"], array * 3)
    wrong = run(infer, tensors=Tensors({"x": array})).arrays["y"]
    assert not (wrong == array * 3).any()
