"""The ONNX backend's node tests, for every operator, version and element type that the engine claims."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from devices.native.execute import Executor
from devices.native.importer import Unsupported, lacking, read_graph
from devices.native.importer.node import DTYPES, full_name
from devices.native.importer.table import OPERATORS
from devices.native.ir import Graph, verify
from devices.native.lower import lower
from devices.native.passes import optimize
from devices.native.reference import run
from devices.onnx_file import OnnxFile

CLAIMED = 800
"""At least this many of the library's cases, so that a claim cannot shrink unseen."""


@dataclass
class Tally:
    total: int = 0
    claimed: int = 0
    passed: int = 0
    variants: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    """All of them, without what takes long and nobody reads: their sources as text, and results of an operator that the engine lacks."""
    from onnx.backend.test.case import base
    from onnx.backend.test.loader import load_model_tests
    from onnx.reference.ops import op_pool_common

    def pool(
        padded: np.ndarray, shape: Sequence[int], kernel: Any, strides: Any, out: Sequence[int], kind: str, *more: Any, **others: Any
    ) -> Any:
        if kind == "LPPOOL":
            return np.full((*shape[:2], *out), np.nan, padded.dtype)
        return whole(padded, shape, kernel, strides, out, kind, *more, **others)

    whole = op_pool_common.pool
    with warnings.catch_warnings(), np.errstate(all="ignore"), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(op_pool_common, "pool", pool)
        patch.setattr(base, "process_snippet", lambda *_: ("", ""))
        return list(load_model_tests(kind="node"))


def test_node_tests(cases: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally(total=len(cases))
    for case in cases:
        model = case.model if case.model is not None else onnx.load(Path(case.model_dir) / "model.onnx")
        if lacking(OnnxFile(Path(case.name), model, "")) or not plain_types(model):
            continue
        try:
            for inputs, outputs in case.data_sets:
                check(case, model, dict(zip([value.name for value in model.graph.input], inputs, strict=False)), outputs)
        except Unsupported as error:  # `lacks` names it
            tally.variants[case.name] = error.what
            continue
        except Exception as error:
            tally.failed[case.name] = f"{type(error).__name__}: {error}"
        else:
            tally.passed += 1
        tally.claimed += 1
    with capsys.disabled():
        print(f"\nONNX node tests: {tally.passed} passed / {tally.claimed} claimed / {tally.total} in all", end=" ")
        print(f"({len(tally.variants)} of claimed operators in variants that `lacks` names)")
    assert not tally.failed
    assert tally.claimed >= CLAIMED
    assert len(tally.variants) <= 30


def plain_types(model: onnx.ModelProto) -> bool:
    values = (*model.graph.input, *model.graph.output)
    return all(value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type in DTYPES for value in values)


def check(case: Any, model: onnx.ModelProto, feeds: Mapping[str, Any], wanted: Sequence[Any]) -> None:
    graph = next(graphs(case.name, model, feeds))
    verify(graph)
    inputs = {name: np.ascontiguousarray(feeds[name]).reshape(graph.types[name].shape) for name in graph.inputs}
    program = lower(optimize(graph))
    given = {name: np.empty(told.shape, told.dtype) for name, told in program.outputs}
    Executor(program).run([inputs[name] for name, _ in program.inputs], list(given.values()))
    for results in (run(graph, inputs), given):
        for (name, got), want in zip(results.items(), map(np.asarray, wanted), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape), name
            np.testing.assert_allclose(got, want, rtol=case.rtol, atol=max(case.atol, 1e-6), err_msg=name)


def graphs(name: str, model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Iterator[Graph]:
    """The graph with the inputs that the table calls constant put into the file, or else with all whole numbers."""
    dims = {f"{key}:{axis}": size for key, array in feeds.items() for axis, size in enumerate(np.shape(array))}
    named = {
        each
        for node in model.graph.node
        for index in OPERATORS[full_name(node.domain, node.op_type)].constant
        for each in node.input[index : index + 1]
    }
    numbers = {key for key, array in feeds.items() if np.asarray(array).dtype.kind in "iu"}
    for fixed in (named, named | numbers):
        filled = onnx.ModelProto()
        filled.CopyFrom(model)
        filled.graph.initializer.extend(numpy_helper.from_array(np.asarray(feeds[key]), key) for key in feeds if key in fixed)
        try:
            yield read_graph(OnnxFile(Path(name), filled, ""), dims)
        except Unsupported:
            if fixed >= numbers:
                raise
