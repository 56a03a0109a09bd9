"""Runs a model in memory, any of its values as outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from devices.engine import EngineError
from devices.engines.onnxruntime import library

Feed = Mapping[str, np.ndarray]

AT_ONCE = 256 * 2**20
"""Bytes of values that are fetched in one run."""


class Runner:
    """An open model. `values` are exposed beside its outputs. 8-bit kernels are exact (`session.x64quantprecision`)."""

    def __init__(self, model: Any, *, values: Sequence[str] = (), threads: int = 1) -> None:
        import onnx

        onnxruntime = library()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.x64quantprecision", "1")
        if values:
            opened = onnx.ModelProto()
            opened.CopyFrom(model)
            have = {value.name for value in opened.graph.output}
            opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values if name not in have)
            model = opened
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:
            raise EngineError(f"onnxruntime: expected a model it can load, got: {' '.join(str(error).split())[:300]}") from error
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True
        told = self._session.get_outputs()
        self.outputs = [output.name for output in told if output.name not in set(values)]
        self._sizes = {
            output.name: 4 * prod(size if isinstance(size, int) else 1 for size in output.shape) if output.shape else 4 for output in told
        }

    def run(self, feed: Feed) -> dict[str, np.ndarray]:
        """The model's outputs."""
        return self._run(self.outputs, feed)

    def fetch(self, values: Sequence[str], feed: Feed) -> Iterator[tuple[str, np.ndarray]]:
        """Values by name, no more than `AT_ONCE` bytes held at a time (but for a single larger one)."""
        waiting: list[str] = []
        held = 0
        for name in values:
            size = self._sizes.get(name, 4)
            if waiting and held + size > AT_ONCE:
                yield from self._run(waiting, feed).items()
                waiting, held = [], 0
            waiting.append(name)
            held += size
        if waiting:
            yield from self._run(waiting, feed).items()

    def _run(self, names: Sequence[str], feed: Feed) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, self._session.run(list(names), dict(feed), self._options), strict=True))
        except Exception as error:
            raise EngineError(f"onnxruntime: the run failed: {' '.join(str(error).split())[:300]}") from error
