"""The pre-processing and inference of a plan's first stream, in a bare loop on one thread over pictures in memory.

`python bare_inference.py PLAN SECONDS`: says `ready`; then, for each line it is given, how many frames it has done in that time.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

from ace_bench_source import LoopedSource, pictures

from devices import threads
from devices.spec import TensorsSpec
from flow.plan.codec import decode_plan
from flow.plan.value import Ref
from ops import catalog
from ops.testing import HeapContext, frame
from ops.value import Image, Tensors


class KeptMemory(HeapContext):
    """Gives the same memory for every frame, as a worker does."""

    def tensors(self, port: str, spec: TensorsSpec, index: int = 0) -> Tensors:
        if (port, spec) not in kept:
            kept[port, spec] = super().tensors(port, spec, index)
        return kept[port, spec]


kept: dict[Any, Tensors] = {}
threads.limit(1)
plan = decode_plan(Path(sys.argv[1]).read_text())
stream = plan.streams[0]
context = KeptMemory(threads=1)
specs: dict[Ref, Any] = {Ref(stream.address, "image"): stream.spec}
steps = []
for node in plan.nodes:
    if node.streams == (stream.name,) and node.op in ("image.resize", "nn.infer"):
        kind: Any = catalog.find(node.op)
        operator = kind(kind.Config.model_validate(node.config), plan.model(node))
        operator.infer({port: specs[ref] for port, ref in node.inputs})
        operator.open(context)
        specs |= {Ref(node.address, port): spec for port, spec in node.outputs}
        steps.append((operator, *node.inputs[0], Ref(node.address, node.outputs[0][0])))
assert len(steps) == 2, "a picture is brought to the model's size, and goes through the model"


def run(image: Image) -> None:
    values: dict[Ref, Any] = {Ref(stream.address, "image"): image}
    for operator, port, source, target in steps:
        result = operator.run(at, **{port: values[source]})
        values[target] = result[target.port] if isinstance(result, dict) else result


at = frame(0)
images = itertools.cycle([Image(LoopedSource.SPEC, planes) for planes in pictures(4)])
run(next(images))
print("ready", flush=True)
for _ in sys.stdin:
    done, end = 0, time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        run(next(images))
        done += 1
    print(done, flush=True)
