"""What is taken for one unit, and where values are stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devices.quantize.network import Network, read_network
from devices.quantize.placement import place
from devices.quantize.units import Unit, find_units


def named(network: Network, unit: Unit) -> tuple[str, list[str]]:
    return unit.kind, [network.nodes[index].op_type for index in unit.nodes]


def test_units_of_a_network(network: Callable[..., Path]) -> None:
    read = read_network(network())
    units = [named(read, unit) for unit in find_units(read)]
    assert units == [
        ("layer", ["Conv"]), ("function", ["Sigmoid", "Mul"]), ("layer", ["Conv", "Relu"]), ("layer", ["Conv"]), ("sum", ["Add", "Relu"]),
        ("layer", ["Conv"]), ("join", ["Concat"]), ("move", ["MaxPool"]), ("layer", ["Conv"]), ("mean", ["GlobalAveragePool"]),
        ("move", ["Flatten"]), ("layer", ["Gemm"]), ("function", ["Softmax"]),
    ][:-1]  # fmt: skip


def test_what_follows_the_last_layer_is_not_stored(network: Callable[..., Path]) -> None:
    read = read_network(network())
    placement = place(read, find_units(read))
    assert "y" not in placement.given
    assert {"logits", "cat", "silu"} <= placement.given
    assert placement.taken == {"x"}


def test_moves_and_joins_share_one_scale(network: Callable[..., Path]) -> None:
    read = read_network(network())
    placement = place(read, find_units(read))
    groups = placement.groups
    assert groups["max"] == groups["cat"] == groups["q"], "what only the join reads is stored as the join wants it"
    assert groups["sumr"] != groups["cat"], "another layer reads it as well"
    assert placement.rescaled == {("cat", "sumr")}
    assert set(placement.sources[groups["cat"]]) == {"q", "sumr"}


def test_a_layer_kept_float_reads_and_gives_real_values(network: Callable[..., Path]) -> None:
    read = read_network(network())
    placement = place(read, find_units(read), ["depthwise"])
    assert "dr" not in placement.given
    assert "dr" in placement.taken, "the next layer wants it stored"
    assert "silu" in placement.given, "the sum wants it stored"


def test_real_sums_are_read_stored_and_summed_real(network: Callable[..., Path]) -> None:
    read = read_network(network())
    placement = place(read, find_units(read), real="sums")
    assert "sum" not in {unit.kind for unit in placement.units}
    assert not {"p", "logits"} & (placement.given | placement.taken), "what the sum and the softmax read"
    assert "sumr" in placement.taken, "layers want it stored"
    assert {"q", "last"} <= placement.given, "only stored values are made of these"


def test_results_alone_are_not_rounded(network: Callable[..., Path]) -> None:
    read = read_network(network())
    placement = place(read, find_units(read), real="results")
    assert "logits" not in placement.given
    assert {"p", "sumr", "last"} <= placement.given


def test_batch_norms_and_older_operator_sets_are_taken_in(save_model: Callable[..., Path]) -> None:
    import numpy as np
    from onnx import helper

    ones = np.ones(4, np.float32)
    path = save_model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("BatchNormalization", ["c", "ones", "ones", "ones", "ones"], ["y"]),
        ],
        [("x", "float32", (1, 3, 4, 4))], [("y", "float32", (1, 4, 4, 4))], {"w": np.ones((4, 3, 1, 1), np.float32), "ones": ones}, opset=9,
    )  # fmt: skip
    read = read_network(path)
    assert [node.op_type for node in read.nodes] == ["Conv"]
    assert {entry.version for entry in read.model.opset_import} == {13}
