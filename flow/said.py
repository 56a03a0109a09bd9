"""What results say, counted: how often each label, or anything at all where there are no labels, and how often nothing. From it drift is
told."""

from __future__ import annotations

from typing import Any

import numpy as np

from devices.spec import RecordsSpec, Spec
from flow.ledger import Block

MOST_LABELS = 256
FIELDS = {"detections": "class_id", "classes": "class_id", "event": "name"}
"""The column of a record that holds the number of its label."""
FOUND = ("found",)
"""What is counted of records without labels: whether there is one."""


def said_labels(spec: Spec) -> tuple[str, ...]:
    """What the counters of an output are about, but for the last one, which is that of nothing."""
    if not isinstance(spec, RecordsSpec):
        return ()
    return (spec.labels[:MOST_LABELS] if spec.record in FIELDS else ()) or FOUND


def said_keys(sink: int, spec: Spec) -> list[str]:
    """The counters of an output: `said:` and the label's number, and `nothing` for results without a record."""
    labels = said_labels(spec)
    return [*(f"sink:{sink}.said:{label}" for label in range(len(labels))), f"sink:{sink}.nothing"] if labels else []


class Said:
    """Counts what the results of one sink say."""

    def __init__(self, sink: int, spec: Spec, block: Block) -> None:
        keys = said_keys(sink, spec)
        self._words = block.words
        self._places = [block.index(key) for key in keys]
        self._field = FIELDS.get(spec.record, "") if isinstance(spec, RecordsSpec) and said_labels(spec) != FOUND else ""
        self.counts = bool(keys)
        """Whether there is anything to count."""

    def count(self, value: Any) -> None:
        """One result."""
        if type(value) is not np.ndarray or not self._places:
            return
        words, places = self._words, self._places
        if not len(value):
            words[places[-1]] += 1
            return
        if not self._field:
            words[places[0]] += 1
            return
        for label in value[self._field].tolist():
            if 0 <= label < len(places) - 1:
                words[places[label]] += 1
