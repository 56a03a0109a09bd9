from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flow.cli.bench import Dims, check_there, sizes
from flow.cli.options import one_of
from flow.cli.progress import Progress, bars

if TYPE_CHECKING:
    from devices.quantize import Report
    from devices.quantize.execute import Feed

METHODS = ("auto", "minmax", "percentile", "mse", "kl")
CHOICES = ("auto", "on", "off")

Subject = Annotated[Path, typer.Argument(metavar="MODEL", help="A Model manifest, or a float32 ONNX file.", show_default=False)]
Data = Annotated[
    str,
    typer.Option(
        "--data", metavar="PATH", help="What to calibrate on: a picture, folder or glob, a video, a source; or .npz.", show_default=False
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The quantized ONNX file to write.", show_default=False)]
Count = Annotated[int, typer.Option("--samples", metavar="N", min=1, max=100_000, help="The most samples, spread evenly over the data.")]
Ranges = Annotated[
    str, typer.Option("--ranges", metavar="|".join(METHODS), help="How ranges are taken from what was seen.", callback=one_of(*METHODS))
]
PairSafe = Annotated[
    bool,
    typer.Option("--pair-safe/--no-pair-safe", help="Weights whose sums of two products cannot saturate 16 bits: kernels may add pairs."),
]
KeepFloat = Annotated[
    str,
    typer.Option(
        "--keep-float",
        metavar="auto|none|NAME,…",
        help="Layers that stay float; auto: those that gain most within the share, then as few as bring the worst output to the bar.",
    ),
]
Bar = Annotated[
    float | None,
    typer.Option(
        "--bar", metavar="DB", min=-100, max=100, help="The bar of `--keep-float auto`: SQNR of the worst output.", show_default=False
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        "--float-share",
        metavar="PART",
        min=0,
        max=1,
        show_default=False,
        help="Of `--keep-float auto`: what the model may take longer for what stays float, as a part of its time.",
    ),
]
Smooth = Annotated[
    str,
    typer.Option("--smooth", metavar="auto|on|off", help="Scale channels so that all use 256 steps.", callback=one_of(*CHOICES)),
]
Equalize = Annotated[
    str, typer.Option("--equalize", metavar="auto|on|off", help="Cross-layer equalization of weights.", callback=one_of(*CHOICES))
]
Correct = Annotated[str, typer.Option("--correct-bias", metavar="auto|on|off", help="Bias correction.", callback=one_of(*CHOICES))]
SecondOrder = Annotated[
    str, typer.Option("--second-order", metavar="auto|on|off", help="Round weights for what layers give.", callback=one_of(*CHOICES))
]
ReportFile = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write the report as JSON.", show_default=False)]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, max=1024, help="Threads of one run.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Which model of the manifest.", show_default=False)]
Resize = Annotated[
    int | None,
    typer.Option("--resize", metavar="PIXELS", min=1, max=8192, help="Shorter side before a crop (fit crop).", show_default=False),
]
Format = Annotated[
    str | None, typer.Option("--format", metavar="rgb24|bgr24|gray8", help="Pixels of a bare ONNX file.", show_default=False)
]
Fit = Annotated[str | None, typer.Option("--fit", metavar="letterbox|stretch|crop", help="How pictures are fitted.", show_default=False)]
Align = Annotated[str | None, typer.Option("--align", metavar="top-left|center", help="Where a letterbox lies.", show_default=False)]
Pad = Annotated[float | None, typer.Option("--pad", metavar="LEVEL", help="Level around a letterbox.", show_default=False)]
Mean = Annotated[str | None, typer.Option("--mean", metavar="A,B,C", help="Mean of each channel, 0-255.", show_default=False)]
Std = Annotated[str | None, typer.Option("--std", metavar="A,B,C", help="What each channel is divided by.", show_default=False)]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Size where the file leaves it open.", show_default=False)]


def quantize(
    model: Subject,
    data: Data,
    output: Output,
    samples: Count = 100,
    ranges: Ranges = "auto",
    pair_safe: PairSafe = True,
    keep_float: KeepFloat = "auto",
    float_share: Share = None,
    bar: Bar = None,
    smooth: Smooth = "auto",
    equalize: Equalize = "auto",
    correct_bias: Correct = "auto",
    second_order: SecondOrder = "auto",
    report: ReportFile = None,
    threads: Threads = 1,
    name: Name = None,
    resize: Resize = None,
    format: Format = None,
    fit: Fit = None,
    align: Align = None,
    pad: Pad = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    dims: Dims = None,
) -> None:
    """Make a uint8 model of a float one, with an accuracy report.

    Pictures are made into the model's input as its manifest says; for a bare ONNX file say it here, --format at least.
    """
    from flow.cli.failure import failures
    from flow.cli.report import check_writable, write_report

    if not model.is_dir():
        check_there(model)
    pixels = _pixels(format=format, fit=fit, align=align, pad=pad, mean=mean, std=std, size=size)
    if pixels and format is None:
        raise typer.BadParameter("expected the pixel format as well, rgb24, bgr24 or gray8", param_hint="'--format'")
    with failures():
        if report is not None:
            check_writable(report)
        from devices.quantize import Samples, Settings, check_output
        from devices.quantize import quantize as run
        from flow import calibration
        from flow.cli.one_model import find

        found = find(model, name, pixels, sizes(dims))
        if found.input is None and not data.lower().endswith(".npz"):
            raise typer.BadParameter(
                "expected to know how pixels become the input of this model; write an `input:` section into its manifest, give --format "
                "(and --fit, --mean, --std …), or give its inputs in an .npz file",
                param_hint="MODEL",
            )
        check_output(found.path, output)
        if report is not None and report.resolve() in (output.resolve(), found.path.resolve(), model.resolve()):
            raise typer.BadParameter(f"expected a file of its own for the report, got {report}", param_hint="'--report'")
        names = tuple(filter(None, keep_float.split(",")))
        settings = Settings(
            ranges=ranges, pair_safe=pair_safe, smooth=smooth, equalize=equalize, correct_bias=correct_bias,  # type: ignore[arg-type]
            second_order=second_order,  # type: ignore[arg-type]
            keep_float="auto" if keep_float == "auto" else () if keep_float == "none" else names,
            min_sqnr_db=Settings().min_sqnr_db if bar is None else bar,
            float_share=Settings().float_share if float_share is None else float_share, threads=threads,
        )  # fmt: skip
        with bars() as progress:
            given = _counted(calibration.samples(found, data, samples, resize=resize), samples, progress)
            with Samples(dict(found.inputs), given, samples) as held:
                made = run(found.path, output, held, settings, bounds=calibration.pixel_bounds(found), progress=progress)
        if report is not None:
            write_report(made.document(), report)
        _print(made)


def _pixels(**words: Any) -> dict[str, Any]:
    """The words of an `input:` section that were given."""
    found = {key: value for key, value in words.items() if value is not None}
    for key in ("mean", "std"):
        if key in found:
            try:
                found[key] = tuple(float(part) for part in found[key].split(","))
            except ValueError:
                raise typer.BadParameter(
                    f"expected numbers, as in 127.5,127.5,127.5; got {found[key]!r}", param_hint=f"'--{key}'"
                ) from None
    if "size" in found:
        parts = found["size"].lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            raise typer.BadParameter(f"expected width and height, as in 320x240; got {found['size']!r}", param_hint="'--size'")
        found["size"] = tuple(int(part) for part in parts)
    return found


def _counted(samples: Iterable[Feed], limit: int, progress: Progress) -> Iterator[Feed]:
    """The samples as they are, told while they are read."""
    done = 0
    for done, sample in enumerate(samples, 1):
        progress("reading samples", min(done, limit), limit)
        yield sample
    progress("reading samples", max(done, 1), max(done, 1))


def _print(made: Report) -> None:
    """The layers as a table, then what it comes to."""
    from flow.cli.table import show

    rows = [
        [
            layer.name, layer.operator, "float" if layer.kept_float else "uint8", _db(layer.weight_sqnr_db), _db(layer.activation_sqnr_db),
            "-" if layer.low is None or layer.high is None else f"{layer.low:.4g} … {layer.high:.4g}",
            f"{layer.seen_low:.4g} … {layer.seen_high:.4g}",
        ]
        for layer in made.layers
    ]  # fmt: skip
    show(made.model, ["layer", "operator", "as", "weights dB", "output dB", "range", "seen"], rows)
    print()
    outputs = [
        [name, _db(error.sqnr_db), f"{error.max_abs_error:.4g}", "-" if error.equal is None else f"{100 * error.equal:.1f} %"]
        for name, error in made.accuracy.outputs.items()
    ]
    show(made.output, ["output", "SQNR dB", "largest error", "equal"], outputs)
    print()
    used = {
        "smoothed": made.smoothed, "equalized": made.equalized, "rounded by second order": made.second_order,
        "biases corrected": made.bias_corrected, "pair-safe": made.pair_safe,
    }  # fmt: skip
    print(", ".join((f"ranges: {made.ranges}", *(word for word, was in used.items() if was))))
    if made.accuracy.top1 is not None:
        print(f"same best class: {100 * made.accuracy.top1:.1f} % of {made.accuracy.samples} held-out samples")
    longer = f"; about {100 * made.float_share:.0f} % more time with what stays float" if made.float_share >= 0.005 else ""
    print(f"kept float: {', '.join(made.kept_float) or 'none'}{longer}")
    if made.real != "nothing":
        print(f"not rounded: results{' and residual sums' if made.real == 'sums' else ''}")
    print(f"calibrated on {made.calibrated_on} samples, measured on {made.held_out}")
    print(f"{made.bytes_before} -> {made.bytes_after} bytes ({100 * (made.bytes_after / made.bytes_before - 1):+.1f} %)")


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
