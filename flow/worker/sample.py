"""What a worker gives to those who try something out: a sample of frames on edges made for it, and of the rows that sinks write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from flow.plan.value import Sample
from flow.worker.chain import ChainRunner


def sample(chains: Iterable[ChainRunner], command: Mapping[str, Any], tell: Callable[..., None]) -> None:
    """From now on edges that take a sample take one frame (or span of time) in `every`; sinks in `taps` tell rows of these frames."""
    taps = {int(sink): Sample(*fields) for sink, fields in command["taps"].items()}
    for chain in chains:
        for gate in chain.gates:
            gate.sample = gate.sample and replace(gate.sample, every=command["every"])
        for sink in chain.sinks:
            sink.sample, sink.tell = taps.get(sink.sink.id), tell
