"""From a float model and samples to a quantized file and its report."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from devices.engine import EngineError
from devices.quantize.measure import Accuracy, Yardstick
from devices.quantize.network import read_network
from devices.quantize.plan import Choices, Scheme
from devices.quantize.ranges import METHODS, Method, noise_ratio
from devices.quantize.report import LayerReport, Report
from devices.quantize.samples import Samples
from devices.quantize.search import kept_float_for
from devices.quantize.settings import Settings
from devices.quantize.share import float_within

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is."""

FEW = 6
"""Samples on which the noise of each value is measured, at most."""
RUNS = 400
"""Runs of the model for that, about."""

GAIN_DB = 0.05
"""What smoothing or equalization has to bring to be taken by `auto`."""


def quantize(
    path: Path, output: Path, samples: Samples, settings: Settings | None = None,
    *, bounds: Mapping[str, tuple[float, float]] | None = None, progress: Progress = lambda what, done, of: None,
) -> Report:  # fmt: skip
    """Quantizes the float32 ONNX model at `path` over `samples` and writes QDQ ONNX to `output`, whole or not at all.

    Activations are uint8 with one scale for each value, weights int8 with one for each output channel, biases int32; what follows the
    last layer stays float. `bounds`: the range of inputs where it is known (of pixels, for example). Raises EngineError.
    """
    settings = settings or Settings()
    check_output(path, output)
    network = read_network(path)
    scheme = Scheme(network, settings, bounds or {})
    if not scheme.layers:
        raise EngineError(f"{path}: expected a model with a convolution or product over constant weights, got none to quantize")
    _check_names(path, settings, scheme.layers)
    calibration, held = samples.split()
    told = Yardstick(network.model, [samples[index] for index in held], threads=settings.threads)

    def watch(what: str, scheme: Scheme) -> Scheme:
        done, total = 0, 2 * len(calibration)

        def tick() -> None:
            nonlocal done
            done += 1
            progress(what, done, total)

        progress(what, 0, total)
        scheme.observe(lambda: (samples[index] for index in calibration), tick)
        return scheme

    watch("calibrating", scheme)
    kept = settings.keep_float if settings.keep_float != "auto" else ()
    tried: dict[str, float] = {}

    def measured(name: str, scheme: Scheme, choices: Choices) -> Accuracy:
        progress(f"measuring {name}", 0, 1)
        accuracy = told.measure(scheme.write(choices).model)
        progress(f"measuring {name}", 1, 1)
        tried[name] = accuracy.mean_db
        return accuracy

    methods = METHODS if settings.ranges == "auto" else (settings.ranges,)
    correct = settings.correct_bias == "on"

    def best(prefix: str, scheme: Scheme) -> tuple[Method, Accuracy]:
        """The method that leaves the least error."""
        results = {method: measured(prefix + method, scheme, Choices(method, correct, kept)) for method in methods}
        method = max(methods, key=lambda each: results[each].mean_db)
        return method, results[method]

    method, accuracy = best("", scheme)
    smooth = False
    if settings.smooth != "off" and (other := scheme.smoothed()) is not None:
        watch("calibrating the smoothed model", other)
        other_method, found = best("smoothed, ", other)
        if settings.smooth == "on" or found.mean_db > accuracy.mean_db + GAIN_DB:
            scheme, method, accuracy, smooth = other, other_method, found, True
    equalized = False
    equalize = settings.equalize == "on" or (settings.equalize == "auto" and not smooth)  # it would undo what smoothing balanced
    if equalize and (other := scheme.equalized()) is not None:
        watch("calibrating the equalized model", other)
        found = measured("equalized", other, Choices(method, correct, kept))
        if settings.equalize == "on" or found.mean_db > accuracy.mean_db + GAIN_DB:
            scheme, accuracy, equalized = other, found, True
    choices = Choices(method, correct, kept)

    def better(name: str, other: Choices, always: bool = False) -> None:
        """Takes other choices where they are better: they change numbers only, so that any gain counts."""
        nonlocal choices, accuracy
        found = measured(name, scheme, other)
        if always or found.mean_db > accuracy.mean_db:
            choices, accuracy = other, found

    cost = scheme.cost()
    share = settings.float_share if settings.keep_float == "auto" else 0.0
    if share > 0:
        better("results in float32", replace(choices, real="results"), always=True)
    if 0 < cost.sums <= share:
        better("sums in float32", replace(choices, real="sums"))
        share -= cost.sums if choices.real == "sums" else 0.0
    if share > 0 or settings.ranges == "auto":
        few = calibration[:: -(-len(calibration) // max(1, min(FEW, RUNS // len(scheme.units))))]
        watching = partial(progress, "measuring values")
        scheme.measure_values(choices, [samples[index] for index in few], watching, find=settings.ranges == "auto")
    if settings.ranges == "auto":
        better("ranges of each value", replace(choices, own_ranges=True))
    if settings.second_order != "off":
        scheme.round([samples[index] for index in calibration], progress)
        better("second-order rounding", replace(choices, second_order=True), settings.second_order == "on")
    if share > 0 and (names := float_within(scheme.place(real=choices.real), scheme.layers, scheme.noise, cost, share)):
        better(f"{len(names)} layers in float32", replace(choices, kept_float=names))
    if settings.correct_bias == "auto":
        better("bias correction", replace(choices, correct_bias=True))
    if settings.correct_bias != "off":
        scheme.measure_shifts(choices, (samples[index] for index in calibration))
        better("bias correction of the outputs", replace(choices, correct_outputs=True), settings.correct_bias == "on")
    if settings.keep_float == "auto" and accuracy.worst_db < settings.min_sqnr_db:
        choices, accuracy = kept_float_for(scheme, choices, told, settings.min_sqnr_db, progress)
    written = scheme.write(choices)
    size = _save(written.model, output)
    before = path.stat().st_size
    layers = _layers(scheme, choices, written)
    return Report(
        model=str(path),
        output=str(output),
        ranges="each value's own" if choices.own_ranges else method,
        pair_safe=settings.pair_safe,
        smoothed=smooth,
        equalized=equalized,
        second_order=choices.second_order,
        real=choices.real,
        float_share=sum(cost.time[name] for name in choices.kept_float) + (cost.sums if choices.real == "sums" else 0.0),
        bias_corrected=choices.correct_bias or choices.correct_outputs,
        tried=tried,
        layers=layers,
        accuracy=accuracy,
        calibrated_on=len(calibration),
        held_out=len(held),
        bytes_before=before,
        bytes_after=size,
    )


def check_output(path: Path, output: Path) -> None:
    """Raises EngineError where the quantized model cannot be written to `output`."""
    if output.is_dir():
        raise EngineError(f"{output}: expected the path of a file to write, got a folder; name a file in it, such as {output / path.name}")
    if not output.parent.is_dir():
        raise EngineError(f"{output}: expected a path in a folder that exists, got none at {output.parent}; make it first")
    if output.exists() and path.exists() and output.samefile(path):
        raise EngineError(f"{output}: expected another file than the float model, got the same; choose another name")
    if not os.access(output.parent, os.W_OK):
        raise EngineError(f"{output}: expected a folder that we may write to, got {output.parent}")


def _check_names(path: Path, settings: Settings, layers: Sequence[str]) -> None:
    for name in () if settings.keep_float == "auto" else settings.keep_float:
        if name not in layers:
            near = difflib.get_close_matches(name, layers, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise EngineError(f"{path}: keep float: expected names of layers, such as {layers[0]!r}, got {name!r}{hint}")


def _layers(scheme: Scheme, choices: Choices, written: Any) -> tuple[LayerReport, ...]:
    placement = scheme.place(choices.kept_float, choices.real)
    steps = scheme.steps(placement, choices)
    found = []
    for unit in scheme.units:
        if unit.layer is None:
            continue
        value, operator = unit.outputs[0], scheme.network.nodes[unit.layer.node].op_type
        seen = scheme.histogram(value)
        if unit.layer.name not in written.weights:
            found.append(LayerReport(unit.layer.name, operator, True, None, None, None, None, seen.low, seen.high))
            continue
        step = steps[placement.groups[value]] if value in placement.groups else None
        found.append(
            LayerReport(
                unit.layer.name,
                operator,
                False,
                written.weights[unit.layer.name],
                None if step is None else noise_ratio(seen, step),
                None if step is None else step.low,
                None if step is None else step.high,
                seen.low,
                seen.high,
            )
        )
    return tuple(found)


def _save(model: Any, output: Path) -> int:
    """Writes the file beside its place and moves it there. Gives its size. Raises EngineError."""
    from onnx import checker

    try:
        checker.check_model(model)
    except Exception as error:
        raise EngineError(f"{output}: the quantized model does not pass the ONNX checker: {' '.join(str(error).split())[:300]}") from error
    data: bytes = model.SerializeToString(deterministic=True)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(output)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise EngineError(f"{output}: expected a file that can be written, got: {error.strerror or error}") from error
    return len(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
