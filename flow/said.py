"""What results say, counted: how often each label, and how often nothing. From it drift is told."""

from __future__ import annotations

from typing import Any

import numpy as np

from devices.spec import RecordsSpec, Spec
from flow.ledger import Block

MOST_LABELS = 256
FIELDS = {"detections": "class_id", "classes": "class_id", "event": "name"}
"""The column of a record that holds the number of its label."""


def said_keys(sink: int, spec: Spec) -> list[str]:
    """The counters of an output: `said:` and the label's number, and `nothing` for results without a record."""
    if not isinstance(spec, RecordsSpec) or spec.record not in FIELDS:
        return []
    return [f"sink:{sink}.said:{label}" for label in range(min(len(spec.labels), MOST_LABELS))] + [f"sink:{sink}.nothing"]


class Said:
    """Counts what the results of one sink say."""

    def __init__(self, sink: int, spec: Spec, block: Block) -> None:
        keys = said_keys(sink, spec)
        self._words = block.words
        self._places = [block.index(key) for key in keys]
        self._field = FIELDS[spec.record] if keys and isinstance(spec, RecordsSpec) else None
        self.counts = self._field is not None
        """Whether there is anything to count."""

    def count(self, value: Any) -> None:
        """One result."""
        if self._field is None or not isinstance(value, np.ndarray):
            return
        words, places = self._words, self._places
        if not len(value):
            words[places[-1]] += 1
            return
        for label in value[self._field].tolist():
            if 0 <= label < len(places) - 1:
                words[places[label]] += 1
