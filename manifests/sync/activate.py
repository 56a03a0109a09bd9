"""The steps of an update from the switch on: the gate, the switch, probation, and the way back."""

from __future__ import annotations

from dataclasses import asdict, replace

from manifests.bundle.canonical import BundleError
from manifests.store.generations import FACTORY, Generation
from manifests.store.release import Mismatch
from manifests.sync.context import Context
from manifests.sync.health import Expected, figures, judge
from manifests.sync.runtime import RuntimeRefusal, Switched
from manifests.sync.states import DEADLINES, MAX_BOOTS, Failed, Machine, Next, Pause, State


def gate(context: Context, machine: Machine) -> Next | None:
    """Waits for a good moment, then writes down what is to run: a cut from here on starts the new release, on probation."""
    if why := context.gate(context.active().desired):
        raise Pause("gate", why)
    store = context.store
    try:
        before = figures(context.runtime.health())
    except (ConnectionError, TimeoutError, RuntimeRefusal) as error:
        raise Pause("runtime", f"expected the engine to say how it is, got: {error}") from None
    old, new = context.active().id, machine.generation

    def roles() -> None:
        store.generations.assign("active", new)
        store.generations.assign("previous", old)
        store.generations.assign("staged", None)

    return Next(State.SWAP, changes={"before": before, "before_order": int(store.fact("running", -1))}, within=roles)


def swap(context: Context, machine: Machine) -> Next:
    """Cuts over to what was loaded. An engine that was started anew meanwhile is given the release again."""
    runtime = context.runtime
    try:
        try:
            switched: Switched | None = runtime.switch(machine.order)
        except RuntimeRefusal:
            running = runtime.health().revision
            if running == machine.order:
                switched = None
            elif machine.boots or running < 0:
                switched = activate(context, context.active())
                machine = replace(machine, order=switched.revision)
            else:
                raise
    except RuntimeRefusal as error:
        raise Failed("switch", str(error)) from None
    except (ConnectionError, TimeoutError) as error:
        raise Pause("runtime", f"expected the engine to switch, got: {error}") from None

    order = machine.order
    return Next(State.PROBATION, changes={"order": order, "lost": 0}, report=proof(switched), within=lambda: runs(context, order))


def probation(context: Context, machine: Machine) -> Next | None:
    """Looks how the release does; with the time over and nothing wrong, it stays."""
    runtime = context.runtime
    try:
        health = runtime.health()
        if health.revision != machine.order and health.state != "failed":
            if machine.lost >= context.limits.restarts:
                raise Failed("restarts", f"expected the engine to stay up, got {machine.lost + 1} starts of it on probation")
            switched = activate(context, context.active())
            return Next(State.PROBATION, changes={"order": switched.revision, "lost": machine.lost + 1}, report=proof(switched))
    except RuntimeRefusal as error:
        raise Failed("switch", str(error)) from None
    except (ConnectionError, TimeoutError) as error:
        raise Pause("runtime", f"expected the engine to say how it is, got: {error}") from None
    desired = context.active().desired
    try:
        expected = Expected(machine.before, context.goals(desired), context.windows())
    except BundleError as error:
        raise Failed("damaged", str(error)) from None
    if verdict := judge(health, expected, context.limits):
        raise Failed(verdict.code, verdict.reason)
    if context.clock.now() < machine.entered + desired.probation_s:
        return None
    try:
        runtime.settle(machine.order)
    except RuntimeRefusal as error:
        raise Failed("settle", str(error)) from None
    except (ConnectionError, TimeoutError) as error:
        raise Pause("runtime", f"expected the engine to settle, got: {error}") from None
    return Next(State.COMMITTED, report={"health": figures(health)})


def roll_back(context: Context, machine: Machine) -> Next | None:
    """The engine goes back to what ran before: warm, where it still has it; else it is given that release again."""
    store, runtime = context.store, context.runtime
    running = machine.before_order
    try:
        try:
            report = proof(runtime.abort(machine.order))
        except RuntimeRefusal:
            running = int(store.fact("running", -1))
            if runtime.health().revision != running or running == machine.order:
                switched = activate(context, context.active())
                running, report = switched.revision, proof(switched)
            else:
                report = {}
    except (RuntimeRefusal, Failed) as error:
        # It is written down what has to run; that is tried until it does.
        running, report = -1, {"pending": str(error)}
    except (ConnectionError, TimeoutError) as error:
        raise Pause("runtime", f"expected the engine to go back, got: {error}") from None
    return Next(State.ROLLED_BACK, machine.code, machine.reason, report=report, within=lambda: runs(context, running))


def go_back(context: Context) -> None:
    """What ran before is active again. Stands inside the transaction that begins ROLLING_BACK."""
    generations = context.store.generations
    previous = generations.role("previous")
    generations.assign("active", FACTORY if previous is None else previous.id)
    generations.assign("previous", None)
    generations.assign("staged", None)


def runs(context: Context, order: int) -> None:
    """What the engine runs: the active generation under this number, or (-1) something else. Stands inside a transaction."""
    context.store.state("running", order)
    context.store.state("reconcile", int(order < 0))


def reconcile(context: Context) -> None:
    """Brings the engine to run the active generation, unless it does. Raises Failed, Pause."""
    store = context.store
    active = context.active()
    try:
        running = int(store.fact("running", -1))
        if running < 0 or context.runtime.health().revision != running:
            context.runtime.settle(activate(context, active).revision)
    except RuntimeRefusal as error:
        raise Failed("refused", str(error)) from None
    except (ConnectionError, TimeoutError) as error:
        raise Pause("runtime", f"expected the engine to run generation {active.id}, got: {error}") from None


def activate(context: Context, generation: Generation) -> Switched:
    """Gives the engine a generation under a new number, and switches to it. Raises Failed, RuntimeRefusal, ConnectionError."""
    with context.store.transaction():
        order = context.next_order()
    try:
        asked = context.release(generation, order)
    except (Mismatch, BundleError) as error:
        raise Failed("damaged", str(error)) from None
    staging = context.runtime.stage(asked)
    if not staging.ready:
        raise Failed("load", "; ".join(staging.problems) or "the engine could not load it")
    switched = context.runtime.switch(order)
    with context.store.transaction():
        runs(context, order)
    return switched


def proof(switched: Switched | None) -> dict[str, object]:
    """What a report says of a switch."""
    if switched is None:
        return {}
    value = asdict(switched)
    return {"switch": {key: list(each) if isinstance(each, tuple) else each for key, each in value.items()}}


def deadline(state: State, entered: float, own_s: float) -> float | None:
    """When a state must be over, in trusted time; `own_s` is how long it takes by itself."""
    if state not in DEADLINES:
        return None
    return entered + DEADLINES[state] + own_s


def survived(machine: Machine) -> bool:
    """Whether an update may go on after one more start."""
    return machine.boots <= MAX_BOOTS
