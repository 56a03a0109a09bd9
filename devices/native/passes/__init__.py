"""The compiler's passes: each takes a graph and gives one that computes the same, in fewer or cheaper steps.

The reference interpreter gives the same results before and after each (floats to rounding; `fuse_qdq` to one quantized step a layer).
"""

from __future__ import annotations

from collections.abc import Callable

from devices.native.ir import Graph
from devices.native.passes.activation import fuse_activation
from devices.native.passes.affine import fuse_affine
from devices.native.passes.dead import remove_dead
from devices.native.passes.fold import fold_constants
from devices.native.passes.layout import to_nhwc
from devices.native.passes.qdq import fuse_qdq
from devices.native.passes.real import fuse_real
from devices.native.passes.recognize import recognize
from devices.native.passes.residual import fuse_residual
from devices.native.passes.shuffle import cut_shuffles
from devices.native.passes.unfold import unfold_transposed
from devices.native.passes.views import merge_views

__all__ = ["PASSES", "optimize", "stages"]

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    remove_dead,
    recognize,
    cut_shuffles,
    fuse_affine,
    fuse_residual,
    fuse_activation,
    unfold_transposed,
    fuse_qdq,
    fuse_real,
    fold_constants,
    to_nhwc,
    fold_constants,
    recognize,
    merge_views,
)


def stages(graph: Graph) -> list[tuple[str, Graph]]:
    """The graph as it came, then after each pass, with the pass's name."""
    found = [("as it came", graph)]
    for run in PASSES:
        found.append((run.__name__, run(found[-1][1])))
    return found


def optimize(graph: Graph) -> Graph:
    """The graph after all passes."""
    return stages(graph)[-1][1]
