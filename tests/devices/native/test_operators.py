"""What operators refuse. What they compute is in reference/ and in the ONNX node tests."""

from __future__ import annotations

import pytest

from devices.native import operators as ops
from devices.native.ir import GraphError, Op, Quantization, Type

IMAGE, LAST = Type("float32", (1, 4, 8, 8)), Type("float32", (1, 8, 8, 4), "nhwc")
BIAS = Type("float32", (6,))
KERNEL = Type("float32", (6, 4, 3, 3))
Q = Quantization((0.1,), (128,))
BYTES = Type("uint8", (1, 4, 8, 8), quantization=Q)
WEIGHT = Type("int8", (6, 4, 3, 3), quantization=Quantization((0.1,), (0,)))


def window(kernel: int = 3, stride: int = 1, pad: int = 0, dilation: int = 1) -> ops.Window:
    return ops.Window((kernel,) * 2, (stride,) * 2, (pad,) * 4, (dilation,) * 2)


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (ops.Conv(window()), (IMAGE, KERNEL, Type("float32", (5,))), "expected a bias of 6 values"),
        (ops.Conv(window(), 2), (IMAGE, KERNEL, BIAS), "expected a weight for 4 channels in 2 groups"),
        (ops.Conv(window(5)), (IMAGE, KERNEL, BIAS), r"expected a weight with the kernel \[5, 5\]"),
        (ops.Conv(window(dilation=5)), (IMAGE, KERNEL, BIAS), "that the window"),
        (ops.Conv(window()), (LAST, KERNEL, BIAS), "in one layout"),
        (ops.Conv(window()), (BYTES, KERNEL, BIAS), "conv: expected float32"),
        (ops.Conv(window(), residual=True), (IMAGE, KERNEL, BIAS, IMAGE), "expected a residual of"),
        (ops.Conv(window(2, pad=2**23)), (IMAGE, Type("float32", (6, 4, 2, 2)), BIAS), "bytes"),
        (ops.MaxPool(window(pad=3)), (IMAGE,), "pads smaller than the window"),
        (ops.ConvTranspose(window(pad=3), (0, 0)), (Type("float32", (1, 4, 1, 1)), Type("float32", (4, 6, 3, 3)), BIAS), "at least 1"),
        (ops.Resize((2,), (0,), (1.0,)), (IMAGE,), "sizes from 1"),
        (ops.Resize((2,), (4,), (float("nan"),)), (IMAGE,), "finite and above 0"),
        (ops.Resize((2,), (2**30,), (1.0,)), (IMAGE,), "sizes from 1"),
        (ops.Dense(), (Type("float32", (1, 3)), Type("float32", (4, 5)), Type("float32", (5,))), r"x \(..., K\)"),
        (ops.MatMul(), (Type("float32", (2, 3)), Type("float32", (4, 5))), "inner sizes"),
        (ops.MatMul(), (Type("float32", (2, 2, 3)), Type("float32", (3, 3, 5))), "outer sizes"),
        (ops.Binary("add"), (IMAGE, Type("float32", (7,))), "can be broadcast"),
        (ops.Binary("add"), (IMAGE, LAST), "expected shapes|one layout"),
        (ops.Binary("add"), (IMAGE, BYTES), "equal element types"),
        (ops.Unary("exp"), (BYTES,), "exp: expected float32"),
        (ops.View((3, 3)), (IMAGE,), "a shape of 256 elements"),
        (ops.Transpose((0, 1, 1, 2)), (IMAGE,), "an order of the 4 axes"),
        (ops.Concat(1), (IMAGE, Type("float32", (1, 4, 8, 7))), "differ along axis 1 only"),
        (ops.Slice((1,), (2,), (1,), (3,)), (IMAGE,), "elements inside"),
        (ops.Pad((0,) * 4, (0, 0, 0, -9)), (IMAGE,), "as many elements taken as there are"),
        (ops.Pad((0, 0, 8, 0), (0,) * 4, "reflect"), (IMAGE,), "reflect pads of at most 7"),
        (ops.Gather(4), (IMAGE, Type("int64", (1,))), "an axis of"),
        (ops.Softmax(4), (IMAGE,), "expected an axis of"),
        (ops.Reduce("mean", (2,)), (Type("float32", (1, 1, 0)),), "elements to reduce"),
        (ops.QConv(window(), Q), (IMAGE, WEIGHT, Type("int32", (6,))), "expected uint8 with one scale"),
        (ops.QConv(window(), Q), (BYTES, WEIGHT, Type("int64", (6,))), "expected an int32 bias"),
        (ops.QConv(window(), Q, low=9, high=8), (BYTES, WEIGHT, Type("int32", (6,))), "inside 0 to 255"),
        (ops.QAdd(Q), (BYTES, Type("uint8", (1,))), "expected uint8 with one scale"),
        (ops.Table(Q), (BYTES, Type("uint8", (255,))), "256 uint8 entries"),
        (ops.Dequantize(), (Type("uint8", (1,)),), "expected a quantized value"),
    ],
)
def test_inference_refuses(op: Op, inputs: tuple[Type, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        op.infer(*inputs)


@pytest.mark.parametrize(
    "numbers",
    [((3,), (1,), (0,), (1,)), ((0, 3), (1, 1), (0,) * 4, (1, 1)), ((3, 3), (0, 1), (0,) * 4, (1, 1)),
     ((3, 3), (1, 1), (-1, 0, 0, 0), (1, 1)), ((2**9, 2**9), (1, 1), (0,) * 4, (1, 1)), ((3, 3), (2**25, 1), (0,) * 4, (1, 1)),
     ((3,) * 4, (1,) * 4, (0,) * 8, (1,) * 4)],
)  # fmt: skip
def test_windows_make_sense(numbers: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(GraphError, match="expected"):
        ops.Window(*numbers)


def test_kinds_are_known() -> None:
    with pytest.raises(GraphError, match="function of one value that is known, got 'swosh'"):
        ops.Unary("swosh")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="clip: expected 2 parameters, got 1"):
        ops.Unary("clip", (1.0,))


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (ops.Slice((1,), (1,), (1,), (2,)), (2, 4, 5, 6)),
        (ops.Pad((0, 1, 2, 3), (0, 0, 0, 1)), (2, 4, 5, 6)),
        (ops.Softmax(1), (2, 4, 5, 6)),
        (ops.Reduce("sum", (1, 3)), (2, 4, 5, 6)),
        (ops.Arg("max", 1), (2, 4, 5, 6)),
        (ops.Resize((2, 3), (10, 6), (2.0, 1.0)), (2, 4, 5, 6)),
        (ops.Tile((1, 2, 1, 3)), (2, 4, 5, 6)),
        (ops.Concat(1), (2, 4, 5, 6)),
    ],
)
def test_a_moved_operator_does_the_same_to_moved_axes(op: Op, shape: tuple[int, ...]) -> None:
    import numpy as np

    from devices.native.reference import evaluate

    perm = (0, 2, 3, 1)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    moved = op.moved(perm)
    assert moved is not None
    results = []
    for each, array in ((op, x), (moved, x.transpose(perm))):
        told = Type("float32", array.shape)
        results.append(evaluate(each, [told], each.infer(told), [array]))
    assert np.allclose(results[0].transpose(perm), results[1])
