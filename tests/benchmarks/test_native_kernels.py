"""The native engine's kernels beside ONNX Runtime's on the same numbers, one thread each, taking turns.

Run with `pytest tests/benchmarks/test_native_kernels.py --benchmark-only`. Printed: GMAC/s, the ratio of times (below 1: the kernel is
faster; the median of paired runs), and the share of the bound, 2 x the multiply-add rate measured in the same run. The peer of int8 is ONNX
Runtime in NHWC and exact; its call overhead (3 us) is not subtracted. Results are compared before anything is timed.
"""

import time

import numpy as np
import pytest

from devices.native.isa import best
from devices.native.kernels import channel_stride, ensure, library, pack, pack_winograd, scratch, sites, tiles

ROUNDS = 60
GEMMS = [
    (12544, 16, 96), (3136, 24, 144), (3136, 144, 24), (784, 192, 32), (784, 32, 192), (196, 384, 64), (196, 576, 96), (49, 960, 320),
    (49, 320, 1280),
]  # fmt: skip
CONVOLUTIONS = [(160, 16, 16, 1), (80, 32, 32, 1), (40, 64, 64, 1), (20, 128, 128, 1), (160, 16, 32, 2)]
DEPTHWISE = [
    (112, 32, 1, 3),
    (112, 96, 2, 3),
    (56, 144, 1, 3),
    (28, 192, 1, 3),
    (14, 384, 1, 3),
    (14, 576, 2, 3),
    (7, 960, 1, 3),
    (28, 96, 1, 5),
]


@pytest.fixture(scope="module")
def kernels():
    ensure(best())
    return library(best())


def peak(loaded):
    """Multiply-adds a second, best of some, in 10^9."""
    x = np.ones(14 * loaded.isa.vector // 4, np.float32)
    x[: loaded.isa.vector // 4] = 1e-3
    words, rounds = loaded.kernels["peak_f32"].words(x=x), 20000
    times = []
    for _ in range(5):
        start = time.perf_counter()
        loaded.run("peak_f32", words, 0, rounds)
        times.append(time.perf_counter() - start)
    return rounds * 12 * loaded.isa.vector / 4 / min(times) / 1e9


@pytest.fixture
def compare(benchmark, request, capsys, kernels):
    def measure(ours, theirs, macs):
        ours(), theirs()
        pairs, peaks = [], [peak(kernels)]
        for _ in range(ROUNDS):
            times = []
            for side in (ours, theirs):
                start = time.perf_counter()
                side()
                times.append(time.perf_counter() - start)
            pairs.append(times)
        peaks.append(peak(kernels))
        mine, other = np.array(pairs).T
        ratio = float(np.median(mine / other))
        rate, bound = macs / mine.min() / 1e9, 2 * max(peaks)
        benchmark.extra_info.update(ratio=ratio, gmacs=rate, bound=bound)
        with capsys.disabled():
            print(
                f"\n{request.node.name:42s} {mine.min() * 1e6:8.1f} us {rate:6.1f} GMAC/s ({rate / bound:4.0%} of {bound:5.1f}), "
                f"onnxruntime {other.min() * 1e6:8.1f} us {macs / other.min() / 1e9:6.1f}, ratio {ratio:.2f}"
            )
        benchmark.pedantic(ours, rounds=3)

    return measure


def session(nodes, inputs, outputs, constants):
    import onnxruntime
    from onnx import helper, numpy_helper

    def value(name, dtype, shape):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        nodes, "g", [value(*item) for item in inputs], [value(*item) for item in outputs],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in constants.items()],
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def peer(loaded, x, out_shape):
    """A call without copies, and the output it writes."""
    out = np.zeros(out_shape, x.dtype)
    binding = loaded.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, out.dtype, out.shape, out.__array_interface__["data"][0])
    return (lambda: loaded.run_with_iobinding(binding)), out


def convolution(x, w, scale, *, stride, group, saturates=False):
    """What ONNX Runtime has for this: QLinearConv of NHWC bytes, MatMul for 1x1 of floats, else Conv of NCHW; and its output as NHWC."""
    from onnx import helper

    taps, columns = w.shape[2], w.shape[0]
    n, channels, height, width = x.shape
    side = (n, (height - 1) // stride + 1, (width - 1) // stride + 1)
    how = {"strides": [stride] * 2, "pads": [taps // 2] * 4, "group": group, "kernel_shape": [taps] * 2}
    if x.dtype == np.uint8:
        names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
        nodes = [helper.make_node("QLinearConv", names, ["y"], **how, channels_last=1, domain="com.microsoft")]
        # Without VNNI ONNX Runtime is exact only with weights of uint8, which its option `x64quantprecision` makes of int8.
        weights, zeros = (
            ((w ^ -128).view(np.uint8), np.full(columns, 128, np.uint8))
            if group == 1 and not saturates
            else (w, np.zeros(columns, np.int8))
        )
        constants = {
            "xs": np.float32(1), "xz": np.uint8(7), "w": weights, "ws": scale, "wz": zeros, "ys": np.float32(1), "yz": np.uint8(128),
        }  # fmt: skip
        x, shape = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), (*side, columns)
    elif taps == 1 and stride == 1:
        nodes, constants = [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.ascontiguousarray(w[:, :, 0, 0].T)}
        x, shape = np.ascontiguousarray(x.reshape(channels, -1).T), (height * width, columns)
    else:
        nodes, constants, shape = [helper.make_node("Conv", ["x", "w"], ["y"], **how)], {"w": w}, (n, columns, *side[1:])
    call, out = peer(session(nodes, [("x", x.dtype, x.shape)], [("y", x.dtype, shape)], constants), x, shape)
    call()
    return call, out.transpose(0, 2, 3, 1) if nodes[0].op_type == "Conv" else out


def nhwc(x):
    """NCHW as the layout has it."""
    n, channels, height, width = x.shape
    result = np.zeros((n, height, width, channel_stride(channels)), x.dtype)
    result[..., :channels] = x.transpose(0, 2, 3, 1)
    return result


def slack(array):
    """A copy that is followed by the declared over-read."""
    memory = np.zeros(array.nbytes + 64, np.uint8)
    memory[: array.nbytes] = array.reshape(-1).view(np.uint8)
    return memory


def dense(kernels, compare, x, w, scale, stride, pair_safe=False):
    """1x1 and k x k convolution of uint8 or float32; `pair_safe` weights on both sides in the way that could saturate."""
    floats = x.dtype == np.float32
    _, channels, height, width = x.shape
    taps, columns = w.shape[2], w.shape[0]
    pixels = ((height - 1) // stride + 1) * ((width - 1) // stride + 1)
    tall, wide = tiles.choose(kernels.isa, pixels, columns, "floats" if floats else "pair-safe" if pair_safe else "bytes")
    values = w.transpose(2, 3, 1, 0).reshape(taps * taps, channels, columns)
    out = np.zeros((pixels, channel_stride(columns)), x.dtype)
    a, step = slack(nhwc(x)), channel_stride(channels) * x.itemsize
    common = {"a": a, "out": out, "stride_a": step, "stride_out": out.strides[0]}
    if taps > 1:
        window = sites.windows((height, width), step, (taps, taps), strides=(stride, stride), pads=(taps // 2,) * 4)
        common |= {"pad": np.full(width * step + 64, 0 if floats else 7, np.uint8), **window.words()}
    if floats:
        packed, name = pack.float_weights(values, width=wide), f"gemm_f32_{wide}"
        numbers = {**packed.numbers(tall), "low": float("-inf"), "high": float("inf")}
    else:
        packed, name = pack.weights(kernels.isa, values, width=wide, x_zero=7, scale=scale, pair_safe=pair_safe), f"gemm_u8_{wide}"
        numbers = {**packed.numbers(kernels.isa, tall), "scale": packed.scale, "zero": 128, "low": 0, "high": 255}
    name += "_pairsafe" if pair_safe else ""
    words = kernels.kernels[name].words(**common, **numbers, b=packed.data, bias=packed.bias)
    memory = scratch(numbers["scratch_bytes"])
    theirs, wanted = convolution(x, w, scale, stride=stride, group=1, saturates=pair_safe)
    kernels.run(name, words, 0, pixels, memory)
    equal(out[:, :columns], wanted)
    compare(lambda: kernels.run(name, words, 0, pixels, memory), theirs, pixels * columns * channels * taps * taps)


@pytest.mark.parametrize(("side", "channels", "columns", "stride"), [case for case in CONVOLUTIONS if case[3] == 1])
@pytest.mark.parametrize("floats", [False, True], ids=["u8", "f32"])
def test_winograd(compare, kernels, side, channels, columns, stride, floats):
    """GMAC/s are those that the direct sum would take."""
    dtype = np.float32 if floats else np.uint8
    x, w = numbers(dtype, 1, channels, side, side), numbers(np.float32 if floats else np.int8, columns, channels, 3, 3)
    scale, step = np.full(columns, 1 / (3 * channels**0.5 * 300), np.float32), channel_stride(channels) * x.itemsize
    values = w.transpose(2, 3, 1, 0)
    packed = pack_winograd.floats(values) if floats else pack_winograd.integers(kernels.isa, values, x_zero=7, scale=scale)
    bounds = {"low": float("-inf"), "high": float("inf")} if floats else {"scale": packed.scale, "zero": 128, "low": 0, "high": 255}
    window, size = sites.winograd((side, side), step, pads=(1, 1, 1, 1))
    more, out, name = (
        packed.numbers(kernels.isa),
        np.zeros((side, side, channel_stride(columns)), dtype),
        f"winograd_{'f32' if floats else 'u8'}",
    )
    words = kernels.kernels[name].words(
        x=slack(nhwc(x)), w=packed.data, bias=packed.bias, out=out, pad=np.full(side * step + 64, 0 if floats else 7, np.uint8),
        **window.words(), **size, **more, **bounds, stride_out=out.strides[1],
    )  # fmt: skip
    memory, rows = scratch(more["scratch_bytes"]), (side // 2) ** 2
    theirs, wanted = convolution(x, w, scale, stride=1, group=1)
    kernels.run(name, words, 0, rows, memory)
    equal(out[..., :columns], wanted)
    compare(lambda: kernels.run(name, words, 0, rows, memory), theirs, side * side * columns * channels * 9)


def equal(ours, theirs):
    ours = ours.reshape(theirs.shape)
    if theirs.dtype == np.uint8:
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def numbers(dtype, *shape):
    rng = np.random.default_rng(0)
    if dtype == np.float32:
        return rng.normal(0, 1, shape).astype(np.float32)
    return rng.integers(-127, 128, shape).astype(np.int8) if dtype == np.int8 else rng.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("rows", "depth", "columns"), GEMMS)
@pytest.mark.parametrize("floats", [False, True], ids=["u8", "f32"])
def test_product(compare, kernels, rows, depth, columns, floats):
    side = int(rows**0.5)
    x = numbers(np.float32 if floats else np.uint8, 1, depth, side, side)
    w = numbers(np.float32 if floats else np.int8, columns, depth, 1, 1)
    dense(kernels, compare, x, w, np.full(columns, 1 / (depth**0.5 * 300), np.float32), 1)


@pytest.mark.parametrize(("rows", "depth", "columns"), GEMMS)
def test_pair_safe_product(compare, kernels, rows, depth, columns):
    if "gemm_u8_16_pairsafe" not in kernels.kernels:
        pytest.skip(f"{kernels.isa.name} has no need of pair-safe weights")
    side = int(rows**0.5)
    x, w = numbers(np.uint8, 1, depth, side, side), np.clip(numbers(np.int8, columns, depth, 1, 1), -64, 64)
    dense(kernels, compare, x, w, np.full(columns, 1 / (depth**0.5 * 300), np.float32), 1, pair_safe=True)


@pytest.mark.parametrize(("side", "channels", "columns", "stride"), CONVOLUTIONS)
@pytest.mark.parametrize("floats", [False, True], ids=["u8", "f32"])
def test_convolution_3x3(compare, kernels, side, channels, columns, stride, floats):
    x = numbers(np.float32 if floats else np.uint8, 1, channels, side, side)
    w = numbers(np.float32 if floats else np.int8, columns, channels, 3, 3)
    dense(kernels, compare, x, w, np.full(columns, 1 / (3 * channels**0.5 * 300), np.float32), stride)


@pytest.mark.parametrize(("side", "channels", "stride", "taps"), DEPTHWISE)
@pytest.mark.parametrize("floats", [False, True], ids=["u8", "f32"])
def test_depthwise(compare, kernels, side, channels, stride, taps, floats):
    x = numbers(np.float32 if floats else np.uint8, 1, channels, side, side)
    w = numbers(np.float32 if floats else np.int8, channels, 1, taps, taps)
    scale = np.full(channels, 1 / 2000, np.float32)
    step = channel_stride(channels) * x.itemsize
    window = sites.windows((side, side), step, (taps, taps), strides=(stride, stride), pads=(taps // 2,) * 4)
    rows = window.rows.shape[0]
    out = np.zeros((rows, rows, channel_stride(channels)), x.dtype)
    values = w[:, 0].transpose(1, 2, 0)
    more = {}
    if floats:
        name, packed = f"depthwise_f32_{taps}x{taps}", pack.float_depthwise(values)
        more = {"low": float("-inf"), "high": float("inf"), "channels": out.shape[2]}
    else:
        name = pack.depthwise_kernel((taps, taps), (stride, stride))
        packed = pack.depthwise(kernels.isa, values, name, x_zero=7, scale=scale)
        more = {"scale": packed.scale, "zero": 128, "low": 0, "high": 255, **packed.numbers()}
    words = kernels.kernels[name].words(
        x=slack(nhwc(x)), w=packed.data, bias=packed.bias, out=out, pad=np.full(side * step + 64, 0 if floats else 7, np.uint8),
        stride_out=out.strides[1], **window.words(), **more,
    )  # fmt: skip
    theirs, wanted = convolution(x, w, scale, stride=stride, group=channels)
    memory = scratch(int(more.get("scratch_bytes", 0)))
    kernels.run(name, words, 0, rows, memory)
    equal(out[..., :channels], wanted)
    compare(lambda: kernels.run(name, words, 0, rows, memory), theirs, rows * rows * channels * taps * taps)
