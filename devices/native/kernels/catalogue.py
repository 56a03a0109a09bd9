"""Every kernel with its words: what the engine's lowering targets. Imports no compiler.

Tensors lie as `layout` says. A row is an output pixel (of all images, one after the other) unless a kernel says otherwise, so that
threads split rows and bands of rows can be chained while they are hot.
"""

from __future__ import annotations

from dataclasses import replace

from devices.native.isa import Isa
from devices.native.kernels import tiles
from devices.native.kernels.kernel import Kernel

SITE_BUFFERS = ("pad", "rows", "columns")
SITE_NUMBERS = ("taps_y", "taps_x", "width_out", "height_out", "image_bytes", "inner_begin", "inner_end", "tap_bytes", "row_bytes")
"""Windows over an input, as `sites` makes them.

`rows` and `columns` are int32 tables of byte offsets inside an image, one a tap: `rows[y * taps_y + ky]` and `columns[x * taps_x + kx]`,
negative where the tap lies outside the image; such a tap reads `pad` instead: one image row of zero points. `width_out` and `height_out`
are the output's, `image_bytes` the input's bytes an image; at the output columns `inner_begin` … `inner_end` no tap lies outside and taps
are `tap_bytes` apart; `row_bytes` an input row.
"""

BYTES, INTS, FLOATS = 0, 1, 2
"""Values of the word `kind`: uint8 requantized, the int32 sums, float32 sums times scale."""

HERE = "devices.native.kernels"


def catalogue(isa: Isa) -> dict[str, Kernel]:
    """What is compiled for this instruction set, by name."""
    kernels = [gemm_u8(width) for width in tiles.heights(isa)]
    if isa.dot == "pmaddwd":
        kernels += [gemm_u8(width, pair_safe=True) for width in tiles.heights(isa, "pair-safe")]
    kernels += [depthwise_u8("carry", 3, 3), depthwise_u8("window", 3, 3), depthwise_u8("window", 5, 5), depthwise_u8("any")]
    kernels += [gemm_f32(width) for width in tiles.heights(isa, "floats")]
    kernels += [MATMUL]
    kernels += [depthwise_f32(3, 3), depthwise_f32(5, 5), depthwise_f32()]
    kernels += [pool(form) for form in ("max_u8", "mean_u8", "max_f32", "mean_f32")]
    kernels += [two(form) for form in ("add_u8", "mul_u8", *(f"{name}_f32" for name in TWO))]
    kernels += [curve(name) for name in CURVES]
    kernels += [TABLE, QUANTIZE, DEQUANTIZE, QUANTIZE_PICTURE, PICTURE_FLOAT, COPY, PICK, RESIZE, RESIZE_LINEAR]
    kernels += [SOFTMAX, LAYER_NORM, ARG_MAX, ROW_MAX, ROW_MIN]
    kernels += [*map(compare, COMPARISONS), *map(where, (1, 4, 8))]
    kernels += [WINOGRAD, WINOGRAD_FLOAT, WALK, SHARE, LEAD, ATTEND, PEAK]
    kernels += [make(size) for make in (move, widen) for size in (1, 4)]
    kernels += [transpose(form, size) for form in ("nchw_to_nhwc", "nhwc_to_nchw") for size in (1, 4)]
    return {kernel.name: kernel for kernel in kernels}


def gemm_u8(width: int, *, pair_safe: bool = False) -> Kernel:
    """`gemm_u8_WIDTH` (`…_pairsafe`): out[m, n] = requantize(bias[n] + sum over k of a[m, k] * (b[k, n] - weight_zero[n])).

    - `a` uint8: row m at `m * stride_a` bytes (matrices and 1x1), or, with `taps_y` > 0, the image of the site words.
    - `b` int8, `bias` int32, `scale` float32, `weight_zero` int32 (or None): of `pack.Weights`. `pair_safe` needs weights packed so.
    - `out`: row m at `m * stride_out` bytes; `outputs` of them, written up to the next multiple of WIDTH, which must lie in the stride.
    - `depth` activations a tap, a multiple of 4; `prepared_bytes`, `scratch_bytes` of `Weights.numbers`; `tile_rows` of `tiles.choose`.
    - `panels` not 0: so many pixels; a row is WIDTH outputs of all of them (no windows).
    - groups: one call a group in ascending order, `a` and `out` moved by its channels; what it writes past its outputs comes later, and
      what the last one writes must still lie in the stride.
    - transposed: the site words of `sites.transposed`.
    - `kind` BYTES, INTS or FLOATS; for BYTES `zero`, `low`, `high`: the output's zero point, and the bounds of its activation.
    """
    numbers = (
        "depth", "outputs", "stride_a", "stride_out", "tile_rows", "panels", "kind", "zero", "low", "high", "prepared_bytes",
        "scratch_bytes",
    )  # fmt: skip
    buffers = ("a", "b", "out", "bias", "scale", "weight_zero", *SITE_BUFFERS)
    name = f"gemm_u8_{width}" + ("_pairsafe" if pair_safe else "")
    return Kernel(name, f"{HERE}.gemm", buffers, (*numbers, *SITE_NUMBERS), (width, "saturating" if pair_safe else "exact"))


def depthwise_u8(form: str, *taps: int) -> Kernel:
    """`depthwise_u8_3x3_stride1`, `depthwise_u8_3x3`, `depthwise_u8_5x5` (any stride), `depthwise_u8_any`: a row is an output *image* row.

    - `x` uint8 image of the site words, `out` uint8 with `stride_out` bytes a pixel; `channels` a multiple of 16.
    - `w`, `bias`, `scale` and the other numbers of `pack.depthwise` for this kernel; `zero`, `low`, `high` as for `gemm_u8`.
    """
    size = f"_{taps[0]}x{taps[1]}" if taps else "_any"
    numbers = ("channels", "stride_out", "block_bytes", "zero", "low", "high", "scratch_bytes", *SITE_NUMBERS)
    name = f"depthwise_u8{size}" + ("_stride1" if form == "carry" else "")
    return Kernel(name, f"{HERE}.depthwise", ("x", "w", "out", "bias", "scale", *SITE_BUFFERS), numbers, (form, *taps))


def gemm_f32(width: int) -> Kernel:
    """`gemm_f32_WIDTH`: out[m, n] = clamp(bias[n] + sum over k of a[m, k] * b[k, n], low, high).

    - `a`, `out`, the site words and the other numbers as for `gemm_u8`, in float32: strides in bytes, `depth` elements a tap (any number).
    - `b`, `bias` of `pack.float_weights`; `low` and `high` floats (infinite without an activation).
    """
    numbers = ("depth", "outputs", "stride_a", "stride_out", "tile_rows", "panels", "low", "high", "prepared_bytes", "scratch_bytes")
    return Kernel(f"gemm_f32_{width}", f"{HERE}.gemm_float", ("a", "b", "out", "bias", *SITE_BUFFERS), (*numbers, *SITE_NUMBERS), (width,))


MATMUL_WIDTH = 16

MATMUL = replace(
    gemm_f32(MATMUL_WIDTH), name="matmul_f32", variant=(MATMUL_WIDTH, "rows"), numbers=(*gemm_f32(MATMUL_WIDTH).numbers, "stride_b")
)
"""`gemm_f32_16` with a second matrix that was not known ahead: row k of `b` at `k * stride_b` bytes, in rows of whole tiles."""


def depthwise_f32(*taps: int) -> Kernel:
    """`depthwise_f32_3x3`, `depthwise_f32_5x5`, `depthwise_f32_any`, for any stride: a row is an output *image* row.

    `x`, `out` and numbers as for `depthwise_u8`, in float32; `w`, `bias` of `pack.float_depthwise`; `low` and `high` floats.
    """
    name = "depthwise_f32" + (f"_{taps[0]}x{taps[1]}" if taps else "_any")
    numbers = ("channels", "stride_out", "low", "high", *SITE_NUMBERS)
    return Kernel(name, f"{HERE}.depthwise_float", ("x", "w", "out", "bias", *SITE_BUFFERS), numbers, taps)


def pool(form: str) -> Kernel:
    """`pool_max_u8`, `pool_mean_u8`, `pool_max_f32`, `pool_mean_f32`: a row is an output *image* row.

    - `x` the image of the site words, `out` with `stride_out` bytes a pixel; `channels` a multiple of 16.
    - maximum: `pad` holds 0 (uint8) or -inf (float32).
    - mean: `scale` float32 of each output pixel of an image: 1 / taps for float32 (`pad` 0.0), x_scale / (y_scale * taps) for uint8, where
      `bias` is -x_zero times the taps of a window, `pad` holds x_zero, and `zero`, `low`, `high` are as for `gemm_u8`.
    """
    numbers = ("channels", "stride_out", *SITE_NUMBERS, *(("bias", "zero", "low", "high") if form == "mean_u8" else ()))
    buffers = ("x", "out", *(("scale",) if form.startswith("mean") else ()), *SITE_BUFFERS)
    return Kernel(f"pool_{form}", f"{HERE}.windows", buffers, numbers, (form,))


TWO = ("add", "sub", "mul", "div", "prelu")


def two(form: str) -> Kernel:
    """`add_u8`, `mul_u8`, and those of TWO as `_f32`: out = a (op) b, element by element; a row is a pixel.

    Row m of `a` lies at `m * stride_a` bytes and so on (stride 0: the same pixel for all rows); `channels` a multiple of 16.

    - `add_u8`: clamp(rint_even(fma(a, scale_a, fma(b, scale_b, constant))), low, high), which is ONNX Runtime's QLinearAdd with
      scale_a = a_scale / y_scale, scale_b = b_scale / y_scale, constant = y_zero - fma(scale_a, a_zero, scale_b * b_zero): `pack.addition`.
    - `mul_u8`: rint_even((a - zero_a) * (b - zero_b) * scale), scale = a_scale * b_scale / y_scale; zero_a and zero_b are floats.
    - float32: clamped to the floats `low` and `high`; `prelu` is a below 0 times b. `out` may be `a` or `b`.
    """
    floats = {"add_u8": ("scale_a", "scale_b", "constant"), "mul_u8": ("scale", "zero_a", "zero_b", "zero")}.get(form, ())
    numbers = ("channels", "stride_a", "stride_b", "stride_out", *floats, "low", "high")
    return Kernel(form, f"{HERE}.pointwise", ("a", "b", "out"), numbers, (form,))


CURVES = (
    "clamp_f32", "sigmoid_f32", "tanh_f32", "silu_f32", "hard_sigmoid_f32", "hard_swish_f32", "leaky_relu_f32", "exp_f32", "sqrt_f32",
    "erf_f32", "gelu_f32",
)  # fmt: skip
"""Activations of float32: `curve`."""

_ONE = ("channels", "stride_x", "stride_out")


def curve(name: str) -> Kernel:
    """Kernels of CURVES: a row is a pixel of `channels` (a multiple of 16) float32; `x` may be `out`.

    The floats `low` and `high` are the bounds of `clamp`; `low` the slope of `leaky_relu` below 0; both alpha and beta of `hard_sigmoid`.
    """
    return Kernel(name, f"{HERE}.pointwise", ("x", "out"), (*_ONE, "low", "high"), (name,))


TABLE = Kernel("table_u8", f"{HERE}.pointwise", ("x", "out", "table"), _ONE, ("table_u8",))
"""out = table[x]: any function of one uint8 tensor, also another scale on the way into a concatenation. A row is a pixel."""

QUANTIZE = Kernel("quantize", f"{HERE}.pointwise", ("x", "out"), (*_ONE, "scale", "zero", "low", "high"), ("quantize",))
"""float32 -> uint8: clamp(rint_even(x / scale) + zero, low, high), `scale` a float. A row is a pixel."""

DEQUANTIZE = Kernel("dequantize", f"{HERE}.pointwise", ("x", "out"), (*_ONE, "scale", "zero"), ("dequantize",))
"""uint8 -> float32: (x - zero) * scale; both are floats. A row is a pixel."""

QUANTIZE_PICTURE = Kernel(
    "quantize_picture", f"{HERE}.moves", ("x", "out"), ("channels", "pixels", "scale", "zero", "low", "high"), ("quantize_picture",),
    within=True,
)  # fmt: skip
"""float32 NCHW of at most 4 channels -> uint8 picture, as `quantize`. Images of `pixels` pixels have `layout.pieces(pixels)` rows each."""

PICTURE_FLOAT = Kernel("picture_f32", f"{HERE}.moves", ("x", "out"), ("channels", "pixels"), ("picture_f32",), within=True)
"""float32 NCHW of at most 4 channels -> float32 picture, channels that do not exist 0. Rows as of QUANTIZE_PICTURE."""

COPY = Kernel("copy", f"{HERE}.moves", ("x", "out"), ("bytes", "stride_x", "stride_out"), ("copy",))
"""`bytes` bytes of each row, from one stride to another: concatenation, splitting and slicing of channels or rows."""

PICK = Kernel("pick", f"{HERE}.moves", ("x", "out", *SITE_BUFFERS), ("bytes", "stride_out", *SITE_NUMBERS), ("pick",))
"""Each output pixel is the input pixel of its one tap, or `pad`: nearest resize, spatial slices, padding. A row is an output image row."""

RESIZE = Kernel(
    "resize_f32_any", f"{HERE}.resize", ("x", "out", "weights_y", "weights_x", *SITE_BUFFERS), ("channels", "stride_out", *SITE_NUMBERS)
)  # fmt: skip
"""Each output pixel is the sum over its taps (none outside) of weights_y[y, ky] * weights_x[x, kx] * x, both float32.

A row is an output *image* row; `channels` a multiple of 16.
"""

RESIZE_LINEAR = replace(RESIZE, name="resize_f32_2x2", variant=(2, 2))
"""The same with 2x2 taps."""

SOFTMAX = Kernel("softmax_f32", f"{HERE}.rowwise", ("x", "out"), _ONE, ("softmax_f32",))
"""Softmax over `channels` (any number) of each row; `x` may be `out`."""

LAYER_NORM = Kernel("layer_norm_f32", f"{HERE}.rowwise", ("x", "out", "scale", "bias"), (*_ONE, "epsilon"), ("layer_norm_f32",))
"""(x - mean) / sqrt(variance + epsilon) * scale + bias over `channels` (any number) of each row; `x` may be `out`."""

ARG_MAX = Kernel("arg_max_f32", f"{HERE}.rowwise", ("x", "out"), _ONE, ("arg_max_f32",))
"""int64 place of the largest of `channels` (any number) elements of each row, the first one of equals."""

ROW_MAX = replace(ARG_MAX, name="row_max_f32", variant=("row_max_f32",))
ROW_MIN = replace(ARG_MAX, name="row_min_f32", variant=("row_min_f32",))
"""The largest and the smallest of `channels` (any number) elements of each row."""

COMPARISONS = ("less", "lessequal", "greater", "greaterequal", "equal")


def compare(kind: str) -> Kernel:
    """`compare_KIND_f32`: uint8 0 or 1, element by element; a row is an element. A stride of 0 bytes: one number for all."""
    return Kernel(f"compare_{kind}_f32", f"{HERE}.choices", ("a", "b", "out"), ("stride_a", "stride_b"), ("compare", kind))


def where(size: int) -> Kernel:
    """`where_SIZE`: `yes` where the uint8 `condition` is not 0, else `no`, for elements of SIZE bytes; rows and strides as of `compare`."""
    buffers = ("condition", "yes", "no")
    return Kernel(f"where_{size}", f"{HERE}.choices", (*buffers, "out"), tuple(f"stride_{name}" for name in buffers), ("where", size))


_WINOGRAD = ("channels", "depth", "outputs", "stride_out", "tile_rows", "pixels_x", "pixels_y", "low", "high", "scratch_bytes")

WINOGRAD = Kernel(
    "winograd_u8", f"{HERE}.winograd", ("x", "w", "out", "bias", "scale", *SITE_BUFFERS), (*_WINOGRAD, "zero", *SITE_NUMBERS)
)  # fmt: skip
"""3x3 convolution of uint8 with stride 1, equal to `gemm_u8` on the same numbers; a row is a tile of 2x2 output pixels.

- `x` the image of the site words of `sites.winograd`, which gives `pixels_x` and `pixels_y` (the output's size), too.
- `w`, `bias`, `scale` and the other numbers of `pack_winograd.integers`; `channels` is the stride of a pixel of `x` in elements.
- `out` with `stride_out` bytes a pixel; `zero`, `low`, `high` as for `gemm_u8`.
"""

WINOGRAD_FLOAT = Kernel("winograd_f32", f"{HERE}.winograd_float", ("x", "w", "out", "bias", *SITE_BUFFERS), (*_WINOGRAD, *SITE_NUMBERS))
"""The same in float32, near `gemm_f32`; of `pack_winograd.floats`; `low` and `high` are floats. Padding channels of `x` must not be NaN."""

CALL_WORDS, LINE = 4, 64

WALK = Kernel("walk", f"{HERE}.walk", (), (), ("walk",))
"""Calls kernels one after the other; a row is a call. Its words are, for each call, CALL_WORDS int64: address of the function
(`Library.address`), of its words, begin and end of rows. All get the scratch memory that `walk` got: `Library.walk` makes such lists.
"""

SHARE = Kernel(
    "share", f"{HERE}.walk", ("state", "round"), ("function", "inner", "rows", "grain", "thread", "threads", "give_way"), ("share",)
)  # fmt: skip
"""Runs a kernel (`function`, its words `inner`) over `rows` rows, whole grains of `grain` at a time, together with other threads that call
the same, as `thread` of `threads`.

`state`: 1 + threads int64, a LINE apart: the rows that are done, and for each thread's part of the rows those that were taken, of all
rounds; `round`: the thread's own int64, from 1 on. `give_way`: address of a C function without arguments to call after many looks, such
as `sched_yield`. `team.Team` makes all this.
"""

PLACE_WORDS = 4
IDLE, COMING, OVER = range(3)

LEAD = Kernel("lead", f"{HERE}.round", ("post", "team"), ("helpers", "wake"), ("lead",))
"""Opens the next round of a team, wakes the helpers, and takes part as thread 0.

- `team`: int64 lines: the number of the round; then, for each thread, PLACE_WORDS: address of its list, calls in it, address of its
  scratch memory, and the round that it last took part in.
- `post`: int64 lines: address of the team whose round is the last one, and IDLE, COMING or OVER; then a semaphore for each helper. `wake`
  and `wait` are addresses of C functions, such as `sem_post` and `sem_wait`.
"""

ATTEND = Kernel("attend", f"{HERE}.round", ("post",), ("thread", "wait", "give_way"), ("attend",))
"""Takes part in rounds as thread `thread`, parked between them, until `post` says OVER. While that says COMING it stays awake a while."""

PEAK = Kernel("peak_f32", f"{HERE}.peak", ("x",), (), ("peak_f32",))
"""Measures: a row is 12 * (vector bytes / 4) float32 multiply-adds in registers; `x` has 14 vectors."""


def move(size: int) -> Kernel:
    """`move_SIZE` for elements of 1 or 4 bytes: out[i0, i1, i2, i3] = x[i0, i1, i2, i3], each with its own byte strides of the four axes.

    A row is an index i0; `count_1` … `count_3` are the other sizes; the first element of `x` is at `start` bytes. Strides may be negative
    or 0: changes of the order of axes, slices with steps, repetition.
    """
    strides = [f"stride_{name}_{axis}" for name in ("x", "out") for axis in range(4)]
    return Kernel(f"move_{size}", f"{HERE}.moves", ("x", "out"), ("start", "count_1", "count_2", "count_3", *strides), ("move", size))


def widen(size: int) -> Kernel:
    """`widen_SIZE`: pixels of `channels` elements (at most 4, without gaps) to a picture; channels that do not exist are 0. A row is a
    pixel."""
    return Kernel(f"widen_{size}", f"{HERE}.moves", ("x", "out"), ("channels",), ("widen", size))


def transpose(form: str, size: int) -> Kernel:
    """`nchw_to_nhwc_SIZE`, `nhwc_to_nchw_SIZE` for elements of 1 or 4 bytes; a row is a pixel.

    `pixels` an image, `channels` those that exist, `stride` bytes of a pixel on the NHWC side (whose padding is left as it is).
    """
    return Kernel(f"{form}_{size}", f"{HERE}.transpose", ("x", "out"), ("channels", "pixels", "stride"), (form, size))
