"""Class names in a configuration, checked against the names that a port carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np

from devices.spec import RecordsSpec
from ops.contract import SpecError
from ops.value import Records


class Chosen:
    """The classes that an operator looks at, named in its configuration; no names: all of them.

    `learn` is called from `infer`, where the names of the port are known; `of` in `run`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self.ids: np.ndarray | None = None

    def learn(self, spec: RecordsSpec, port: str) -> None:
        """Looks the names up. Raises SpecError, with the nearest name, for one that `port` does not have."""
        self.ids = np.array(sorted(class_id(name, spec, port) for name in self.names), np.int32)

    def of(self, detections: Records) -> Records:
        """The detections of these classes."""
        if not self.names:
            return detections
        assert self.ids is not None, "infer comes before run"
        chosen = detections["class_id"][:, None] == self.ids
        return detections[np.logical_or.reduce(chosen, axis=1)]


def class_id(name: str, spec: RecordsSpec, port: str) -> int:
    """Id of the class of this name. Raises SpecError, with the nearest name, when `port` does not have it."""
    if name in spec.labels:
        return spec.labels.index(name)
    if not spec.labels:
        raise SpecError(port=port, expected="named classes", got="no names", hint=f"give the Model `labels` that include {name!r}")
    near = difflib.get_close_matches(name, spec.labels, 1)
    some = ", ".join(spec.labels[:8]) + (", …" if len(spec.labels) > 8 else "")
    hint = f"did you mean {near[0]!r}?" if near else "see the Model's labels"
    raise SpecError(port=port, expected=f"a class among {some}", got=repr(name), hint=hint)
