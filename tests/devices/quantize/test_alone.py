"""What rounding one value alone does to the outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from devices.quantize import Samples, Settings
from devices.quantize.alone import Alone
from devices.quantize.cost import Cost
from devices.quantize.execute import Runner
from devices.quantize.network import read_network
from devices.quantize.own import FACTOR
from devices.quantize.plan import Choices, Scheme
from devices.quantize.ranges import Step, step_of
from devices.quantize.share import float_within


def scheme_of(path: Path, samples: Samples) -> Scheme:
    scheme = Scheme(read_network(path), Settings(), {})
    scheme.observe(lambda: iter(samples), lambda: None)
    return scheme


@pytest.mark.parametrize("value", ["x", "dr", "cat"])
def test_only_that_value_is_rounded(network: Callable[..., Path], samples: Callable[..., Samples], value: str) -> None:
    alone = Alone(scheme_of(network(), samples(3)).float_model(), list(samples(3)))
    measured = alone.noise([value])
    assert 0 < measured(Step(0.02, 128)) < measured(Step(0.25, 128))
    assert alone.noise([])(Step(0.25, 128)) == 0


def test_only_some_of_its_readers_read_it_rounded(network: Callable[..., Path], samples: Callable[..., Samples]) -> None:
    alone = Alone(scheme_of(network(), samples(3)).float_model(), list(samples(3)))
    step = Step(0.25, 128)
    every, one, none = (alone.noise(["sumr"], readers)(step) for readers in (None, {"side"}, {"stem"}))
    assert 0 == none < one < every


def test_a_value_that_the_caller_reads(network: Callable[..., Path], samples: Callable[..., Samples]) -> None:
    given = list(samples(3))
    model = scheme_of(network(), samples(3)).float_model()
    step = Step(1 / 64, 0)
    told = [Runner(model).run(feed)["y"] for feed in given]
    error = sum(((step.rounded(y) - y) ** 2).sum() for y in told) / sum((y**2).sum() for y in told)
    assert np.isclose(Alone(model, given).noise(["y"])(step), error, rtol=1e-3)


def test_the_range_that_leaves_least_at_the_outputs_is_taken(network: Callable[..., Path], samples: Callable[..., Samples]) -> None:
    given = list(samples())
    scheme = scheme_of(network(), samples())
    placement = scheme.place()
    before = scheme.steps(placement, Choices("minmax"))
    scheme.measure_values(Choices("minmax"), given, lambda done, of: None)
    own = scheme.steps(placement, Choices("minmax", own_ranges=True))
    measured = {value: Alone(scheme.float_model(), given).noise([value]) for value in ("dr", "sumr")}
    for value, noise in measured.items():
        group = placement.groups[value]
        assert scheme.noise[value] == noise(own[group]) <= noise(before[group])
        for factor in (FACTOR, 1 / FACTOR):
            assert noise(step_of(own[group].low * factor, own[group].high * factor)) >= noise(own[group])


def test_layers_are_kept_for_what_they_gain_by_what_they_cost(network: Callable[..., Path], samples: Callable[..., Samples]) -> None:
    scheme = scheme_of(network(), samples(3))
    cost = Cost(dict.fromkeys(scheme.layers, 0.1), {**dict.fromkeys(scheme.layers, 0.0), "stem": 0.5}, 0.0)
    noise = {"x": 9.0, "dr": 3.0, "logits": 1.0}
    kept = [float_within(scheme.place(), scheme.layers, noise, cost, share) for share in (0.05, 0.1, 0.25, 0.35, 1)]
    assert kept[:4] == [(), ("classify",), ("depthwise", "project"), ("depthwise", "project", "classify")], "the stem is too large"
    assert kept[4] == ("stem", "depthwise", "project", "classify")
