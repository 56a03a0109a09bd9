"""Many crops of one frame, one for each detection: which detections, from where, into what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ops.value import Affine, Many


def best(detections: np.ndarray, capacity: int) -> list[int]:
    """Indices, in order, of the at most `capacity` detections with the highest scores."""
    if len(detections) <= capacity:
        return list(range(len(detections)))
    kept = np.argsort(-detections["score"], kind="stable")[:capacity]
    return [int(i) for i in np.sort(kept)]


def cut(
    detections: np.ndarray, capacity: int, out: str,
    region: Callable[[Any], Affine | None], render: Callable[[Affine, int], Mapping[str, Any]],
) -> dict[str, Many]:  # fmt: skip
    """Renders the region of each detection (skipping those that have none); every item names its detection as parent."""
    items: list[Any] = []
    parents: list[int] = []
    for i in best(detections, capacity):
        matrix = region(detections[i])
        if matrix is not None:
            items.append(render(matrix, len(items))[out])
            parents.append(i)
    return {out: Many(items, parents)}
