"""What chains of a new plan take over from those that leave: the state of operators, and outputs that go on.

Such a chain waits, loaded, until those before it have left. States come from the ledger blocks that outlive workers, so nothing depends on
a worker that dies at the wrong moment; and what was inherited is kept as long as the heir lives, which may die before its first frame.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flow.executor.workers import Worker
from flow.switch.stage import Stage
from flow.switch.terms import Terms, waiting
from flow.wiring import Wiring
from flow.worker.setup import RESULTS, as_json
from flow.worker.state import unpack

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor


@dataclass
class Legacy:
    """What one chain inherits: states by its own nodes' addresses (None: lost), outputs by its own sinks (`last`: time of the last row).

    `ancestors` and `sinks` say whose; `after` are the chains that must have left.
    """

    ancestors: dict[str, str]
    sinks: dict[int, int]
    after: frozenset[int]
    states: dict[str, str | None]
    last: dict[int, int] = field(default_factory=dict)
    sent: bool = False


class Legacies:
    """The legacies of all chains of the running plan and of the next, by chain."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.of: dict[int, Legacy] = {}

    def bequeath(self, stage: Stage) -> None:
        """Notes for every chain of a coming lane what it will inherit, and after which chains."""
        succession = stage.succession
        makers = {address: chain.id for chain in succession.before.chains for address in chain.nodes}
        writers = {sink: chain.id for chain in succession.before.chains for sink in chain.sinks}
        for chain in (chain for lane in succession.coming for chain in stage.chains(lane)):
            heirs = {address: succession.heirs[address] for address in chain.nodes if address in succession.heirs}
            ancestors = {address: heir.ancestor for address, heir in heirs.items() if heir.ancestor is not None}
            sinks = {sink: succession.sinks[sink] for sink in chain.sinks if sink in succession.sinks}
            if heirs or sinks:
                after = {makers[address] for address in ancestors.values()} | {writers[sink] for sink in sinks.values()}
                lost: dict[str, str | None] = {address: None for address in heirs if address not in ancestors}
                self.of[chain.id] = Legacy(ancestors, sinks, frozenset(after), lost)

    def forget(self, chains: set[int]) -> None:
        """These chains are gone."""
        self.of = {chain: legacy for chain, legacy in self.of.items() if chain not in chains}

    def held(self, known: Terms, wiring: Wiring, lane: int, *, left: set[int] | None = None) -> Terms:
        """The terms of a worker some of whose chains have to inherit. `left`: chains that have given away their outputs."""
        gone = left or set()
        own = wiring.lanes[lane].chains
        chains = tuple(chain for chain in own if chain in self.of and chain not in gone)
        sinks = [sink for chain in chains for sink in self.of[chain].sinks]
        sinks += [sink for chain in own if chain in gone for sink in wiring.chains[chain].sinks]
        return waiting(known, chains, tuple(sinks)) if chains or sinks else known

    def due(self, stage: Stage, chain: int) -> bool:
        """Whether everything that a chain inherits is there, and it does not have it yet."""
        legacy = self.of[chain]
        return legacy.after <= stage.left and not legacy.sent

    def hand_over(self, stage: Stage, chain: int) -> None:
        """Gives a chain what it inherits."""
        supervisor, legacy = self.supervisor, self.of[chain]
        for address, ancestor in legacy.ancestors.items():
            state, reason = self._state(stage, ancestor)
            if state is not None:
                legacy.states[address] = b64encode(state).decode()
            elif reason:
                refuse(stage, {address: reason})
                legacy.states[address] = None
            elif (kept := self._inherited(stage, ancestor)) is not None:
                legacy.states[address] = kept
        for new, old in legacy.sinks.items():
            writer = next(one.id for one in stage.succession.before.chains if old in one.sinks)
            legacy.last[new] = supervisor.workers[stage.seat(writer)].block.get(f"sink:{old}.last_ns")
            if old in supervisor.inboxes:
                inbox = supervisor.inboxes[old]
                inbox.sink = stage.wiring.sinks[new]
                supervisor.inboxes = {sink: one for sink, one in supervisor.inboxes.items() if sink != old} | {new: inbox}
        legacy.sent = True
        worker = supervisor.workers[stage.seat(chain)]
        if worker.ready:
            self._send(worker, chain)

    def _inherited(self, stage: Stage, address: str) -> str | None:
        """What a node of the old plan has inherited itself: it has seen no frame since."""
        chain = next(one.id for one in stage.succession.before.chains if address in one.nodes)
        return self.of[chain].states.get(address) if chain in self.of else None

    def again(self, worker: Worker, wiring: Wiring, left: set[int]) -> None:
        """A worker that has started anew inherits again."""
        for chain in wiring.lanes[worker.seat.lane].chains:
            if chain in self.of and self.of[chain].sent and chain not in left:
                self._send(worker, chain)

    def _send(self, worker: Worker, chain: int) -> None:
        legacy = self.of[chain]
        orders = [as_json(RESULTS, self.supervisor.give_inbox(worker, sink)) for sink in legacy.sinks if sink in self.supervisor.inboxes]
        last = {str(sink): time_ns for sink, time_ns in legacy.last.items()}
        self.supervisor.command(worker, do="inherit", chain=chain, states=legacy.states, results=orders, last=last)

    def _state(self, stage: Stage, address: str) -> tuple[bytes | None, str]:
        """The last state of a node of the old plan, or why there is none (no reason: it has seen no frame)."""
        chain = next(one for one in stage.succession.before.chains if address in one.nodes)
        lane = stage.both.lane_of[chain.id]
        block = self.supervisor.workers[stage.seat(chain.id)].block
        number = block.get(f"chain:{chain.id}.state")
        if not number:
            return None, ""
        saved = block.load_state(stage.both.state_areas(lane)[chain.id], last=number)
        if saved is None or saved[0] != number:
            return None, "it does not save its state, or one beside it does not, or it is larger than 1 MiB"
        return unpack(saved[1])[1].get(chain.nodes.index(address), b""), ""


def refuse(stage: Stage, refused: dict[str, Any]) -> None:
    """These states could not be carried over, and why."""
    heirs = stage.succession.heirs
    found = {
        address: replace(heirs[address], ancestor=None, reason=str(reason))
        for address, reason in refused.items()
        if address in heirs and heirs[address].ancestor is not None
    }
    stage.succession = replace(stage.succession, heirs={**heirs, **found})
