from __future__ import annotations

from collections.abc import Callable

import numpy as np

from devices.native import operators as ops
from devices.native.importer.builder import Builder
from devices.native.ir import Graph, Type
from devices.native.passes.dead import remove_dead


def test_only_what_outputs_need_stays(before_and_after: Callable[..., Graph]) -> None:
    b = Builder()
    x, unused = b.input("x", Type("float32", (2, 3))), b.input("unused", Type("float32", (1,)))
    kept = b.add(ops.Unary("relu"), x)
    b.add(ops.Binary("add"), b.add(ops.Unary("exp"), kept), b.constant(np.ones(3, np.float32), "dead"))
    graph = before_and_after(b.graph([("y", kept)]), remove_dead)
    assert [node.output for node in graph.nodes] == [kept]
    assert not graph.constants
    assert graph.inputs == (x, unused)
