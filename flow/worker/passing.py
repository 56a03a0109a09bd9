"""A frame that a chain has taken in, on its way through the chain's nodes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flow.entry import Entry
from flow.worker.join import Met
from flow.worker.settlement import Settlement

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner


@dataclass(slots=True)
class Passing:
    """The frame, its values by their place in the chain's table, and what is settled with it. `met` is released when it has gone on.

    `since_ns`: the monotonic clock when it was taken in.
    """

    chain: ChainRunner
    entry: Entry
    values: list[Any]
    settlement: Settlement
    met: Met
    since_ns: int = field(default_factory=time.monotonic_ns)
