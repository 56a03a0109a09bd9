"""Whatever is killed in whatever state, online and offline: the exact chain of states that follows, and what the cloud learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from manifests.bundle.bundle import Bundle
from manifests.store.release import release
from manifests.sync.agent.rows import transition
from manifests.sync.desired import Shadow
from manifests.sync.fetch import FetchError
from manifests.sync.reported import Transition
from manifests.sync.runtime import Admission, RuntimeRefusal, Staging, Verification
from manifests.sync.states import State
from manifests.sync.update import STEPS
from tests.manifests.sync.conftest import Killed, Rig, reach, wanted

WHOLE = ["RESOLVE", "RESERVE", "FETCH", "STAGED", "PRELOAD", "GATE", "SWAP", "PROBATION", "COMMITTED"]
BACK = ["ROLLING_BACK", "ROLLED_BACK"]
LOST = ConnectionError("no engine")

both = pytest.mark.parametrize("rig", ["online", "offline"], indirect=True)


@pytest.fixture
def bundle(rig: Rig, bundles: Callable[..., Bundle]) -> Bundle:
    """A new model and a new version of the business."""
    bundle = bundles("two", model="1.1.0", business="1.1.0", weights=bytes(range(256)) * 40, golden=True)
    rig.fetcher.add(bundle)
    return bundle


@pytest.fixture
def two(rig: Rig, bundle: Bundle) -> Bundle:
    """The same, sent to the device."""
    assert rig.submit(wanted(bundle, 1))
    return bundle


def settled(rig: Rig, bundle: Bundle, revision: int) -> None:
    """The device runs this revision, everything of it is whole, and the engine agrees."""
    rig.run(State.IDLE)
    rig.run(State.IDLE)
    assert rig.updater.desired.revision == revision, (rig.bodies()[-3:], rig.updater.waiting_for)
    active = rig.store.generations.role("active")
    assert active is not None
    assert rig.store.generations.is_sound(active)
    assert rig.engine.running is not None
    assert rig.engine.running.digest == release(rig.store, active.desired, rig.device_file, revision=1).digest
    assert not revision or rig.store.database.value("SELECT count(*) FROM partial") == 0


@dataclass(frozen=True)
class Kill:
    """A state that was written down, in which the agent, or the whole device, is killed: the states before it and after it.

    `power`: those after it where the engine has lost what it ran. `outcomes`: what the cloud learns in the end, of each revision.
    """

    before: list[str]
    after: list[str]
    power: list[str] | None = None
    outcomes: tuple[str, ...] = ("done",)


TRIED = [*WHOLE[:4], "SHADOW", *WHOLE[4:]]
KILLS = {
    State.IDLE: Kill([], WHOLE),
    State.RESOLVE: Kill(WHOLE[:1], WHOLE[1:]),
    State.RESERVE: Kill(WHOLE[:2], WHOLE[2:]),
    State.FETCH: Kill(WHOLE[:3], WHOLE[3:]),
    State.STAGED: Kill(WHOLE[:4], WHOLE[4:]),
    State.SHADOW: Kill(TRIED[:5], TRIED[5:]),
    State.PRELOAD: Kill(WHOLE[:5], WHOLE[5:]),
    State.GATE: Kill(WHOLE[:6], WHOLE[4:]),
    State.SWAP: Kill(WHOLE[:7], WHOLE[7:]),
    State.PROBATION: Kill(WHOLE[:8], WHOLE[8:], WHOLE[7:]),
    State.COMMITTED: Kill(WHOLE, []),
    State.ROLLING_BACK: Kill([*WHOLE[:8], "ROLLING_BACK"], ["ROLLED_BACK", *WHOLE], outcomes=("failed", "done")),
    State.ROLLED_BACK: Kill([*WHOLE[:8], *BACK], WHOLE, outcomes=("failed", "done")),
    State.FAILED: Kill([*WHOLE[:5], "FAILED"], WHOLE, outcomes=("failed", "done")),
    State.SUPERSEDED: Kill([*WHOLE[:3], "SUPERSEDED"], WHOLE, outcomes=("superseded", "done")),
}


def test_the_tables_know_every_state() -> None:
    """A state that is added needs a kill and, where something is done in it, an error."""
    assert set(KILLS) == set(State)
    assert {State(case.at) for case in CASES} == set(STEPS)


@pytest.mark.parametrize(("rig", "power"), [("offline", False), ("online", True)], ids=["offline-agent", "online-power"], indirect=["rig"])
@pytest.mark.parametrize("state", State)
def test_killed_in_every_state(rig: Rig, bundle: Bundle, state: State, power: bool) -> None:
    """The state is in the database, nothing of it was done. Real agents are killed in tests/flow/agent/test_lives.py."""
    kill = KILLS[state]
    reach(rig, bundle, state)
    assert rig.chain() == kill.before
    rig.restart(power=power)
    revision = 2 if state is State.SUPERSEDED else 1
    while not rig.updater.is_done(revision):
        rig.updater.step()
        rig.time.at += 60.0
    settled(rig, bundle, revision)
    assert rig.chain() == (kill.power if power and kill.power is not None else kill.after)
    assert [step.outcome for step in learned(rig) if step.outcome != "working"] == list(kill.outcomes)


def learned(rig: Rig) -> list[Transition]:
    """What the cloud is told of updates, in order."""
    return [transition(body, 0.0) for body in rig.bodies() if body["kind"] == "update"]


@both
@pytest.mark.parametrize("power", [False, True], ids=["agent", "power"])
@pytest.mark.parametrize(
    ("call", "chain"),
    [
        ("fetch", WHOLE),
        ("admit", WHOLE[5:]),
        ("stage", WHOLE[5:]),
        ("verify", WHOLE[5:]),
        ("gate", ["PRELOAD", *WHOLE[5:]]),
        ("switch", WHOLE[7:]),
        ("settle", WHOLE[8:]),
    ],
)
def test_killed_in_the_middle_of_a_state(rig: Rig, two: Bundle, call: str, chain: list[str], power: bool) -> None:
    """What was begun is done again, and only once."""
    before: list[str] = []
    if call == "fetch":
        rig.fetcher.faults = [Killed()]
        chain = WHOLE[1:]
    elif call == "gate":
        rig.gate = lambda: (_ for _ in ()).throw(Killed())
    else:
        rig.engine.faults[call] = [Killed()]
    with pytest.raises(Killed):
        rig.run(State.COMMITTED)
    before = rig.chain()
    rig.gate = lambda: ""
    rig.restart(power=power)
    rig.run(State.COMMITTED)
    if power and call == "settle":
        chain = ["PROBATION", *chain]
    assert before == WHOLE[: len(before)]
    assert rig.chain() == chain
    settled(rig, two, 1)


@both
@pytest.mark.parametrize("state", WHOLE[:-1])
def test_the_engine_alone_dies_and_is_started_anew(rig: Rig, two: Bundle, state: str) -> None:
    """It runs nothing then, and is given what it should run; an update goes on where it was."""
    rig.run(State(state), tick=0.1)
    rig.chain()
    rig.lose_engine()
    rig.updater.engine_is_new()
    rig.run(State.COMMITTED)
    again = ["PROBATION"] if state == "PROBATION" else []
    assert rig.chain() == again + WHOLE[WHOLE.index(state) + 1 :]
    settled(rig, two, 1)


def test_an_engine_that_dies_at_rest_is_given_what_ran(rig: Rig) -> None:
    assert not rig.updater.problem
    rig.lose_engine()
    rig.updater.engine_is_new()
    assert rig.engine.running is None
    rig.run(State.IDLE)
    assert rig.engine.running is not None
    assert not rig.updater.problem


@both
@pytest.mark.parametrize("cut", ["killed", "no network"])
def test_a_blob_that_is_cut_off_goes_on_where_it_was_written_down(rig: Rig, two: Bundle, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("manifests.sync.prepare", "manifests.bundle.archive"):
        monkeypatch.setattr(f"{module}.CHUNK", 4096)
    rig.run(State.FETCH, tick=0.1)
    while not (there := rig.store.database.rows("SELECT sha256, done FROM partial WHERE done > 0")):
        rig.updater.step()
    if cut == "killed":
        rig.restart()
    else:
        rig.updater._context.drop_stream()
        rig.fetcher.faults = [FetchError("no route")] * 3
    rig.run(State.COMMITTED)
    assert there[0] in rig.fetcher.asked, "what was there was not fetched again"
    assert (there[0][0], 0) not in rig.fetcher.asked[rig.fetcher.asked.index(there[0]) :]
    settled(rig, two, 1)


@both
def test_killed_in_every_state_of_the_way_back(rig: Rig, two: Bundle) -> None:
    rig.engine.figures = {"poison": 1}
    rig.run(State.ROLLING_BACK)
    rig.restart()
    rig.run(State.ROLLED_BACK)
    rig.restart()
    assert rig.chain() == [*WHOLE[:-1], *BACK]
    assert rig.last()["code"] == "poison"
    rig.engine.figures = {}
    settled(rig, two, 0)


@both
def test_power_is_cut_on_the_way_back(rig: Rig, two: Bundle) -> None:
    rig.engine.figures = {"poison": 1}
    rig.run(State.ROLLING_BACK)
    rig.restart(power=True)
    rig.engine.figures = {}
    rig.run(State.ROLLED_BACK)
    assert rig.chain() == [*WHOLE[:-1], *BACK]
    settled(rig, two, 0)


@both
@pytest.mark.parametrize("state", ["SWAP", "PROBATION"])
def test_a_release_that_ends_the_device_again_and_again(rig: Rig, two: Bundle, state: str) -> None:
    rig.run(State(state), tick=0.1)
    for _ in range(3):
        rig.restart(power=True)
    rig.run(State.ROLLED_BACK)
    assert rig.chain() == [*WHOLE[: WHOLE.index(state) + 1], *BACK]
    assert rig.last()["code"] == "boots"
    settled(rig, two, 0)


@both
@pytest.mark.parametrize("state", WHOLE[:6])
def test_an_update_that_ends_the_agent_again_and_again(rig: Rig, two: Bundle, state: str) -> None:
    rig.run(State(state), tick=0.1)
    for _ in range(3):
        rig.restart()
    assert rig.chain()[-1] == "FAILED"
    assert rig.last()["code"] == "boots"
    settled(rig, two, 0)


def no_space(rig: Rig) -> None:
    rig.store.free = lambda: 0  # type: ignore[method-assign]


def rot(rig: Rig) -> None:
    """The manifest of the new business changes on the disk."""
    (row,) = rig.store.database.rows("SELECT generation FROM role WHERE name = 'staged'")
    document = rig.store.generations.document(rig.store.generations.get(row[0]).desired.active[0].business)
    path = rig.store.blobs.path(document.files["manifest.json"].sha256)
    path.chmod(0o644)
    path.write_bytes(b"rot")


@dataclass
class Case:
    """An error in the state `at`, the chain that follows, and the code that the cloud reads. It succeeds when the error is over.

    `breaks`: done when that state is reached; the others are there from the beginning.
    """

    name: str
    at: str
    chain: list[str]
    code: str
    engine: dict[str, list[Any]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    fetch: list[Any] = field(default_factory=list)
    breaks: Callable[[Rig], None] | None = None
    tick: float = 61.0


def failed(after: str) -> list[str]:
    return [*WHOLE[: WHOLE.index(after) + 1], "FAILED"]


def offline(rig: Rig) -> None:
    rig.fetcher.faults = [FetchError("no route")] * 80


def tried(rig: Rig) -> None:
    rig.engine.faults["shadow"] = [RuntimeRefusal("no")]


RELEASED = [*WHOLE[:-1], *BACK]
CASES = [
    Case("no network", "RESOLVE", failed("RESOLVE"), "deadline", fetch=[FetchError("no route")] * 80),
    Case("other bytes", "RESOLVE", failed("RESOLVE"), "deadline", fetch=[[b"other"]] * 80),
    Case("endless bytes", "RESOLVE", failed("RESOLVE"), "deadline", fetch=[[bytes(1 << 20)] * 3] * 80),
    Case("no space", "RESERVE", failed("RESERVE"), "space", breaks=no_space),
    Case("the network goes", "FETCH", failed("FETCH"), "deadline", breaks=offline, tick=5_000.0),
    Case("what came rots", "STAGED", failed("STAGED"), "mismatch", breaks=rot),
    Case("cannot be tried out", "SHADOW", [*TRIED[:5], "FAILED"], "shadow", breaks=tried),
    Case("refused", "PRELOAD", failed("PRELOAD"), "refused", {"admit": [RuntimeRefusal("no")]}),
    Case("does not fit", "PRELOAD", failed("PRELOAD"), "admission", {"admit": [Admission(9, False, False, 1, 1, problems=("too large",))]}),
    Case("does not load", "PRELOAD", failed("PRELOAD"), "load", {"stage": [Staging(9, "", False, ("broken",))]}),
    Case("refused to load", "PRELOAD", failed("PRELOAD"), "refused", {"stage": [RuntimeRefusal("no")]}),
    Case("other results", "PRELOAD", failed("PRELOAD"), "golden", {"verify": [Verification(9, False, 8, ("pets: other",))]}),
    Case("no engine to load", "PRELOAD", failed("PRELOAD"), "deadline", {"admit": [LOST] * 500}),
    Case("no engine at the gate", "GATE", failed("GATE"), "deadline", {"health": [LOST] * 500}, tick=5_000.0),
    Case("refused to switch", "SWAP", [*WHOLE[:7], *BACK], "switch", {"switch": [RuntimeRefusal("no")]}),
    Case("no engine to switch", "SWAP", [*WHOLE[:7], *BACK], "deadline", {"switch": [LOST] * 8}),
    Case("an engine that fails", "PROBATION", RELEASED, "failed", figures={"state": "failed", "problems": ("dead",)}),
    Case("workers that die", "PROBATION", RELEASED, "restarts", figures={"restarts": 2}),
    Case("a frame that kills", "PROBATION", RELEASED, "poison", figures={"poison": 1}),
    Case("operators that raise", "PROBATION", RELEASED, "errors", figures={"errors": 60}),
    Case("too few results", "PROBATION", RELEASED, "rate", figures={"rates": {"pet.pets": 4.0}}),
    Case("too slow", "PROBATION", RELEASED, "latency", figures={"latency_ms": {"pet.pets": {"p50": 180.0}}}),
    Case("other things found", "PROBATION", RELEASED, "drift", figures={"outputs": {"pet.pets": {"cat": 600}}}),
    Case("does not settle", "PROBATION", RELEASED, "settle", {"settle": [RuntimeRefusal("no")]}),
    Case("does not go back", "ROLLING_BACK", RELEASED, "poison", {"abort": [RuntimeRefusal("no")]}, {"poison": 1}),
    Case("no engine on the way back", "ROLLING_BACK", RELEASED, "poison", {"abort": [LOST] * 4}, {"poison": 1}),
    Case("no engine for long on the way back", "ROLLING_BACK", RELEASED, "poison", {"abort": [LOST] * 60}, {"poison": 1}),
]


@both
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_error_in_every_state(rig: Rig, bundle: Bundle, case: Case) -> None:
    rig.engine.faults = {name: list(faults) for name, faults in case.engine.items()}
    rig.engine.figures, rig.fetcher.faults = case.figures, list(case.fetch)
    whole = TRIED if case.at == "SHADOW" else WHOLE
    rig.submit(wanted(bundle, 1, shadow=Shadow() if whole is TRIED else None))
    if case.breaks is not None:
        rig.run(State(case.at), tick=0.1)
        case.breaks(rig)
    rig.run(State.FAILED, State.ROLLED_BACK, steps=3000, tick=case.tick)
    assert rig.chain() == case.chain
    assert rig.last()["code"] == case.code
    assert rig.last()["reason"]
    assert [step.outcome for step in learned(rig)][-1] == "failed"
    rig.engine.faults, rig.engine.figures, rig.fetcher.faults = {}, {}, []
    rig.store.__dict__.pop("free", None)
    settled(rig, bundle, 0)
    rig.run(State.COMMITTED, steps=3000, tick=61.0)
    assert rig.chain() == whole
    settled(rig, bundle, 1)


@both
@pytest.mark.parametrize("state", WHOLE[:6])
def test_a_newer_one_takes_over_before_the_switch(rig: Rig, two: Bundle, bundles: Callable[..., Bundle], state: str) -> None:
    rig.run(State(state), tick=0.1)
    three = bundles("three", model="1.2.0", weights=b"three" * 100)
    rig.fetcher.add(three)
    rig.source = str(three.path) if rig.source else ""
    assert rig.submit(wanted(three, 2))
    rig.run(State.COMMITTED)
    assert rig.chain() == [*WHOLE[: WHOLE.index(state) + 1], "SUPERSEDED", *WHOLE]
    settled(rig, three, 2)


@both
@pytest.mark.parametrize("state", ["SWAP", "PROBATION", "ROLLING_BACK"])
def test_a_newer_one_waits_after_the_switch(rig: Rig, two: Bundle, bundles: Callable[..., Bundle], state: str) -> None:
    if state == "ROLLING_BACK":
        rig.engine.figures = {"poison": 1}
    rig.run(State(state), tick=0.1 if state == "SWAP" else 5.0)
    rig.chain()
    three = bundles("three", model="1.2.0", weights=b"three" * 100)
    rig.fetcher.add(three)
    rig.source = str(three.path) if rig.source else ""
    assert rig.submit(wanted(three, 2))
    rig.run(State.IDLE)
    assert rig.chain() == {"SWAP": WHOLE[7:], "PROBATION": WHOLE[8:], "ROLLING_BACK": BACK[1:]}[state]
    rig.engine.figures = {}
    rig.run(State.COMMITTED)
    settled(rig, three, 2)
