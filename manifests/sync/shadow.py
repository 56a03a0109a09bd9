"""A trial before the switch: what a release would change runs beside what runs, and has to agree with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from manifests.bundle.canonical import BundleError
from manifests.store.release import Mismatch
from manifests.sync.context import Context
from manifests.sync.desired import Shadow
from manifests.sync.runtime import Compared, RuntimeRefusal, Shadowed, Trial
from manifests.sync.states import Failed, Machine, Next, Pause, State

MISSED = {
    "inputs": "joined other frames",
    "only_runs": "of what runs alone",
    "only_tried": "of the candidate alone",
    "unread": "came too fast",
    "unfinished": "came too late",
}


def shadow(context: Context, machine: Machine) -> Next | None:
    """Tries the release out for as long as the desired state says; None as long as it goes on. Nothing that runs is changed."""
    assert machine.generation is not None
    target = context.store.generations.get(machine.generation)
    wanted = target.desired.shadow
    if wanted is None:
        return Next(State.PRELOAD)
    try:
        release = context.release(target, machine.order)
    except (Mismatch, BundleError) as error:
        raise Failed("mismatch", str(error)) from None
    try:
        tried = context.runtime.shadow(Trial(release, wanted.share, wanted.cpu, wanted.seconds))
    except RuntimeRefusal as error:
        raise Failed("shadow", str(error)) from None
    except (ConnectionError, TimeoutError) as error:
        raise Pause("runtime", f"expected the engine to try the release out, got: {error}") from None
    if tried.state == "running":
        return None
    if reason := "; ".join(shortcomings(tried, wanted)):
        raise Failed("shadow", reason, report={"shadow": asdict(tried)})
    return Next(State.PRELOAD, report={"shadow": asdict(tried)})


def shortcomings(tried: Shadowed, wanted: Shadow) -> Iterator[str]:
    """Why a release is not switched to after its trial; nothing where it changes no result that runs."""
    if tried.state == "ended":
        yield f"expected the release to run beside what runs for {wanted.seconds:g} s, got: {tried.why}"
        return
    if wanted.memory_bytes is not None and tried.memory_bytes > wanted.memory_bytes:
        yield f"expected at most {wanted.memory_bytes} bytes of memory beside what runs, got {tried.memory_bytes}"
    if tried.apart and not tried.outputs:
        yield f"expected an output of records among those that change, got {', '.join(tried.apart)}; take it through without a shadow"
    for name, output in sorted(tried.outputs.items()):
        if output.frames < wanted.frames:
            yield f"{name}: expected at least {wanted.frames} frames to compare, got {output.frames}{not_compared(output)}"
            continue
        if output.agreement < wanted.agreement:
            yield f"{name}: expected an agreement of at least {wanted.agreement:g}, got {output.agreement:g} over {output.frames} frames"
        before, after = output.latency_ms.get("p50"), output.trial_latency_ms.get("p50")
        if wanted.latency is not None and before and after is not None and after > wanted.latency * before:
            yield f"{name}: expected a median latency of at most {wanted.latency:g} times {before:g} ms, got {after:g} ms"


def not_compared(output: Compared) -> str:
    """How many results could not be compared, and why, to be said after how many were; empty where there are none."""
    said = ", ".join(f"{count} {MISSED.get(cause, cause)}" for cause, count in output.missed.items())
    return f" (results not compared: {said})" if said else ""
