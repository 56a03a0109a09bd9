"""What a worker gives to those who try something out: a sample of frames on edges made for it, and of the rows that sinks write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flow.worker.chain import ChainRunner


def sample(chains: Iterable[ChainRunner], command: Mapping[str, Any], tell: Callable[..., None]) -> None:
    """From now on edges that take a sample take frames whose seq is a multiple of `every`; sinks in `taps` tell one row in so many."""
    taps = {int(sink): every for sink, every in command["taps"].items()}
    for chain in chains:
        for gate in chain.gates:
            gate.every = gate.every and command["every"]
        for sink in chain.sinks:
            sink.every, sink.tell = taps.get(sink.sink.id, 0), tell
