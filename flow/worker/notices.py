"""Bounds that a source which waits sends of its own accord, without a frame: so consumers hear of a new plan while there is none.

Whoever restarts gives every frame the turn that it had before. What no frame stands behind would not come again, and a frame would take
its turn, which consumers would then discard. So that a notice goes out is written down before it does, and settled like a frame; there
is one at a time, with nothing unsettled before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.entry import Entry, Kind
from flow.worker.settlement import Settlement

if TYPE_CHECKING:
    from flow.worker.chain import ChainRunner


class Notices:
    """Those of one chain."""

    def __init__(self, chain: ChainRunner) -> None:
        self._chain = chain
        self._key = f"chain:{chain.chain.id}"
        self._sent = 0
        """The last one that this life has sent."""

    def _begun(self) -> int:
        return self._chain.block.get(f"{self._key}.notices")

    def owed(self) -> bool:
        """Whether an earlier life may have sent one that it did not settle: it is to be sent again, before any frame."""
        return self._begun() > max(self._sent, self._chain.block.get(f"{self._key}.noticed"))

    def ready(self) -> bool:
        """Whether one may be sent: everything before it is settled."""
        return not self._chain.settling

    def send(self, pts_ns: int) -> None:
        """Tells consumers that no frame before `pts_ns` is to come. To be asked only when `ready`, and when there is room."""
        self._chain.block.set(f"{self._key}.notices", self._begun() + 1)
        self._send(pts_ns)

    def send_again(self) -> None:
        """What is owed."""
        self._send(self._chain.block.get(f"{self._key}.last_pts"))
        self._chain.links_changed()

    def _send(self, pts_ns: int) -> None:
        chain, block = self._chain, self._chain.block
        self._sent = self._begun()
        seq, last = block.get(f"{self._key}.next_seq"), block.get(f"{self._key}.last_pts")
        settlement = Settlement([], [], [], seq, last, notice=self._sent)
        bound = Entry(Kind.BOUND, chain.stream_index(), chain.epoch, seq - 1, pts_ns, None, 0)
        for gate in chain.gates:
            settlement.given += gate.offer([bound] * len(gate.edges))
        chain.settling.append(settlement)
