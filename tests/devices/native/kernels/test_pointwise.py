import math

import numpy as np
import pytest

from devices.native.kernels import pack

EVERY = np.arange(256, dtype=np.uint8)


def rows_of(values):
    return np.ascontiguousarray(values.reshape(-1, 32))


def two(kit, name, a, b, dtype, **numbers):
    a, b = np.broadcast_arrays(a, b)
    x, y = rows_of(a), rows_of(b)
    size = x.itemsize * 32
    out = kit.run(
        name,
        (0, 3),
        (3, len(x)),
        a=x,
        b=y,
        out=np.zeros(x.shape, dtype),
        channels=32,
        stride_a=size,
        stride_b=size,
        stride_out=size,
        **numbers,
    )
    return out.reshape(a.shape)


@pytest.mark.parametrize("scales", [(0.02, 0.03, 0.04), (0.5, 0.001, 0.25), (0.013, 0.017, 0.0071)])
def test_add_of_all_pairs(kit, scales):
    words = pack.addition((scales[0], 100), (scales[1], 7), (scales[2], 30))
    out = two(kit, "add_u8", EVERY[:, None], EVERY, np.uint8, **words, low=1, high=254)
    scale_a, scale_b, constant = (np.float64(np.float32(words[name])) for name in ("scale_a", "scale_b", "constant"))
    inner = (EVERY * scale_b + constant).astype(np.float32)
    np.testing.assert_array_equal(out, np.clip(np.rint((EVERY[:, None] * scale_a + inner).astype(np.float32)), 1, 254))


def test_add_equals_onnxruntime(kits, rng):
    """On random scales and zero points, all 65536 pairs each."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    kit = kits("avx2")
    a, b = np.broadcast_arrays(EVERY[:, None], EVERY)
    for _ in range(5):
        tensors = [
            (float(np.float32(scale)), int(zero)) for scale, zero in zip(rng.uniform(0.005, 0.1, 3), rng.integers(0, 256, 3), strict=True)
        ]
        values = [
            item
            for name, (scale, zero) in zip("aby", tensors, strict=True)
            for item in (
                helper.make_tensor(name + "s", TensorProto.FLOAT, [], [scale]),
                helper.make_tensor(name + "z", TensorProto.UINT8, [], [zero]),
            )
        ]
        node = helper.make_node("QLinearAdd", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], ["y"], domain="com.microsoft")
        sides = [helper.make_tensor_value_info(name, TensorProto.UINT8, a.shape) for name in "aby"]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(helper.make_graph([node], "g", sides[:2], sides[2:], values), opset_imports=opsets, ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        wanted = session.run(None, {"a": np.ascontiguousarray(a), "b": np.ascontiguousarray(b)})[0]
        np.testing.assert_array_equal(two(kit, "add_u8", a, b, np.uint8, **pack.addition(*tensors), low=0, high=255), wanted)


def test_mul_of_all_pairs(kit):
    scale = np.float32(0.0173)
    out = two(kit, "mul_u8", EVERY[:, None], EVERY, np.uint8, scale=float(scale), zero_a=100.0, zero_b=3.0, zero=128, low=5, high=250)
    x = EVERY.astype(np.float32)
    np.testing.assert_array_equal(out, np.clip(np.rint((x[:, None] - 100) * (x - 3) * scale) + 128, 5, 250))


def test_one_pixel_for_all_rows(kit):
    a, b = EVERY.reshape(8, 32), EVERY[:32].copy()
    out = kit.run(
        "mul_u8", (0, 8), a=a, b=b, out=np.zeros((8, 32), np.uint8), channels=32, stride_a=32, stride_b=0, stride_out=32,
        scale=0.1, zero_a=0.0, zero_b=0.0, low=0, high=255,
    )  # fmt: skip
    np.testing.assert_array_equal(out, np.clip(np.rint(a.astype(np.float32) * b.astype(np.float32) * np.float32(0.1)), 0, 255))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "prelu"])
def test_floats(kit, rng, name):
    a, b = rng.normal(0, 2, (2, 64, 32)).astype(np.float32)
    out = two(kit, f"{name}_f32", a, b, np.float32, low=-3.0, high=4.0)
    functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "prelu": lambda x, y: np.where(x < 0, x * y, x)}
    wanted = functions[name](a, b)
    np.testing.assert_array_equal(out, np.clip(wanted, np.float32(-3), np.float32(4)))


CURVES = {
    "clamp_f32": (lambda x: np.clip(x, -1, 2), -1.0, 2.0),
    "sigmoid_f32": (lambda x: 1 / (1 + np.exp(-x)), 0.0, 0.0),
    "tanh_f32": (np.tanh, 0.0, 0.0),
    "silu_f32": (lambda x: x / (1 + np.exp(-x)), 0.0, 0.0),
    "hard_sigmoid_f32": (lambda x: np.clip(x * 0.2 + 0.5, 0, 1), 0.2, 0.5),
    "hard_swish_f32": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 0.0, 0.0),
    "leaky_relu_f32": (lambda x: np.where(x < 0, 0.1 * x, x), 0.1, 0.0),
    "exp_f32": (np.exp, 0.0, 0.0),
    "sqrt_f32": (lambda x: np.sqrt(np.abs(x)), 0.0, 0.0),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves(kit, name):
    function, low, high = CURVES[name]
    x = np.concatenate([np.linspace(-80, 80, 1600), np.linspace(-1, 1, 1600), 10.0 ** np.arange(-32, 0)]).astype(np.float32)
    x = rows_of(np.abs(x) if name == "sqrt_f32" else x)
    out = kit.run(name, (0, len(x)), x=x, out=np.zeros_like(x), channels=32, stride_x=128, stride_out=128, low=low, high=high)
    np.testing.assert_allclose(out, function(x.astype(np.float64)), rtol=3e-6, atol=1e-30)


@pytest.mark.parametrize("name", ["erf_f32", "gelu_f32"])
def test_error_function(kit, name):
    """Within 3e-7 of the largest value near 0, and of the limits far out."""
    x = rows_of(np.concatenate([np.linspace(-12, 12, 3136), 10.0 ** np.arange(-32, 0), -(10.0 ** np.arange(-32, 0))]).astype(np.float32))
    out = kit.run(name, (0, 50), (50, len(x)), x=x, out=np.zeros_like(x), channels=32, stride_x=128, stride_out=128)
    wide = x.astype(np.float64)
    erf = np.vectorize(math.erf)
    wanted = erf(wide) if name == "erf_f32" else wide / 2 * (1 + erf(wide / math.sqrt(2)))
    np.testing.assert_allclose(out, wanted, rtol=1e-6, atol=4e-7)


def test_sigmoid_far_out(kit):
    x = np.float32([-1e30, -200, -88, 88, 200, 1e30, -np.inf, np.inf] * 4).reshape(1, 32)
    out = kit.run("sigmoid_f32", (0, 1), x=x, out=np.zeros_like(x), channels=32, stride_x=128, stride_out=128)
    np.testing.assert_allclose(out, np.float32([0, 0, 0, 1, 1, 1, 0, 1] * 4).reshape(1, 32), atol=1e-37)


def test_table(kit, rng):
    table = rng.permutation(256).astype(np.uint8)
    x = rng.integers(0, 256, (9, 48), np.uint8)
    out = kit.run("table_u8", (0, 9), x=x, table=table, out=np.zeros((9, 64), np.uint8), channels=48, stride_x=48, stride_out=64)
    np.testing.assert_array_equal(out[:, :48], table[x])
    np.testing.assert_array_equal(out[:, 48:], 0)


def test_quantize_and_dequantize(kit, rng):
    x = np.concatenate([rng.normal(0, 4, 992), np.arange(-12, 12) * 0.05, [np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 3e-39, 5]]).astype(
        np.float32
    )
    x = rows_of(x)
    out = kit.run(
        "quantize",
        (0, len(x)),
        x=x,
        out=np.zeros(x.shape, np.uint8),
        channels=32,
        stride_x=128,
        stride_out=32,
        scale=0.1,
        zero=99,
        low=0,
        high=255,
    )
    np.testing.assert_array_equal(out, np.clip(np.rint(x / np.float32(0.1)) + 99, 0, 255))
    back = kit.run("dequantize", (0, len(x)), x=out, out=np.zeros_like(x), channels=32, stride_x=32, stride_out=128, scale=0.1, zero=99.0)
    np.testing.assert_array_equal(back, (out.astype(np.float32) - 99) * np.float32(0.1))


def test_nan_stays_nan_and_quantizes_to_the_lowest(kit):
    x = np.full((1, 32), np.nan, np.float32)
    out = kit.run("clamp_f32", (0, 1), x=x, out=np.zeros_like(x), channels=32, stride_x=128, stride_out=128, low=0.0, high=6.0)
    assert np.isnan(out).all()
    out = kit.run(
        "quantize",
        (0, 1),
        x=x,
        out=np.zeros((1, 32), np.uint8),
        channels=32,
        stride_x=128,
        stride_out=32,
        scale=0.1,
        zero=99,
        low=3,
        high=255,
    )
    assert (out == 3).all()
