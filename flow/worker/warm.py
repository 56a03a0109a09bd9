"""What only a first run does, before frames come: memory is touched, code is there, tables are made when the first one does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from devices.engine import EngineError, Session
from devices.spec import Spec
from flow.plan.value import Ref
from ops.value import Frame, Image, Tensors, empty

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner


def warm(session: Session) -> None:
    """Runs a model once, on nothing. One that cannot be run so is left to the first frame, which says what is wrong."""
    with contextlib.suppress(EngineError):
        session.run({name: np.zeros(spec.shape, spec.dtype) for name, spec in session.inputs.items()})


def rehearse(chain: ChainRunner, spec: Callable[[Ref], Spec]) -> None:
    """Runs the pure operators of a chain once, on a black picture or nothing at all. `spec`: of what flows at a ref.

    Nothing is counted and nothing leaves. An operator that fails is left to the first frame.
    """
    values: list[Any] = [None] * chain.size
    for ref, place in chain.table.items():
        values[place] = _nothing(spec(ref))
    frame = Frame("", -1, 0)
    for node in chain.nodes:
        with contextlib.suppress(Exception):
            node.rehearse(frame, values)
    chain.pools.end_frame()


def _nothing(spec: Spec) -> Any:
    """A value of this spec: black, zero, or empty."""
    value = empty(spec)
    for array in value.planes if isinstance(value, Image) else value.arrays.values() if isinstance(value, Tensors) else ():
        array.fill(0)
    return value
