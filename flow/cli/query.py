from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from flow.cli.remote import ADDRESS, Cloud, Device

Models = Annotated[bool, typer.Option("--models", help="Show models.")]
Businesses = Annotated[bool, typer.Option("--businesses", help="Show businesses.")]
Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def query(device: Device, models: Models = False, businesses: Businesses = False, json: Json = False, cloud: Cloud = ADDRESS) -> None:
    """Show what a device runs, should run, and what became of it."""
    from flow.cli.failure import failures
    from flow.cli.remote import ask

    with failures():
        told = ask(cloud, "GET", f"/v1/devices/{device}")
        if json:
            from json import dumps

            print(dumps(told, indent=2))
            return
        print("\n".join(lines(told, models or not businesses, businesses or not models)))


def lines(told: dict[str, Any], models: bool, businesses: bool) -> list[str]:
    """A device as lines of text."""
    seen = "never" if told["last_seen"] is None else f"{max(0, time.time() - told['last_seen']):.0f} s ago"
    said = [f"{told['name']}  {told['state']}, {'online' if told['online'] else 'offline'} (heard of {seen})  {told['id'][:12]}"]
    reported, desired = told["reported"], told["desired"]
    if reported is None:
        return [*said, "it has not reported yet"]
    if desired and desired["revision"] != reported["revision"]:
        said.append(f"revision {reported['revision']}, to become {desired['revision']}{' (held)' if desired['hold'] else ''}")
    else:
        said.append(f"revision {reported['revision']}")
    for each in reported["active"]:
        if businesses:
            said.append(f"business/{each['business']['name']}@{each['business']['version']}{'' if each['enabled'] else ' (disabled)'}")
        if models:
            said += [f"{'  ' if businesses else ''}model/{item['name']}@{item['version']}" for item in each["models"].values()]
    for item in reported["stored"]:
        if {"model": models, "business": businesses}.get(item["kind"]):
            said.append(f"stored: {item['kind']}/{item['name']}@{item['version']}")
    if signed := reported.get("metadata"):
        checked = f", checked {signed['checked']}" if signed["checked"] else ""
        said.append(f"signed metadata: targets {signed['targets']}, good until {signed['expires']}{checked}")
    said += [f"problem: {problem}" for problem in reported["problems"]]
    for step in told["history"][:3]:
        said.append(f"revision {step['revision']}: {step['outcome']} ({step['state']}{', ' + step['detail'] if step['detail'] else ''})")
    said += interrupted(told["history"])
    said += tried(next((step["evidence"]["shadow"] for step in told["history"] if "shadow" in step["evidence"]), {}))
    return list(dict.fromkeys(said))


def interrupted(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of a last update that does not fit beside what runs: about how long results are to cease, and what became of that."""
    steps = {step["state"]: step["evidence"] for step in history if step["revision"] == history[0]["revision"]}
    gap = next((said.get("gap_s") for said in steps.values() if said.get("beside") is False), None)
    if not isinstance(gap, int | float):
        return []
    line = f"revision {history[0]['revision']}: does not fit beside what runs, which ends first: about {gap:.1f} s without results"
    switch: dict[str, Any] = next((said["switch"] for said in steps.values() if isinstance(said.get("switch"), dict)), {})
    took, lost = switch.get("gap_ns"), switch.get("lost")
    if isinstance(took, int) and isinstance(lost, int):
        line += f"; it took {took / 1e9:.1f} s, {lost} frame{'' if lost == 1 else 's'} lost"
    return [line]


def tried(said: Any) -> list[str]:
    """What the last trial beside what runs has shown, as lines of text; none of what is no such report."""
    from pydantic import TypeAdapter, ValidationError

    from manifests.sync.runtime import Shadowed
    from manifests.sync.shadow import not_compared

    try:
        trial = TypeAdapter(Shadowed).validate_python(said)
    except ValidationError:
        return []
    found = []
    for name, output in sorted(trial.outputs.items()):
        line = f"tried beside what runs: {name} agrees {output.agreement:.2f} over {output.frames} frames"
        if "p50" in output.latency_ms and "p50" in output.trial_latency_ms:
            line += f", median {output.trial_latency_ms['p50']:g} ms (what runs: {output.latency_ms['p50']:g} ms)"
        found.append(line + not_compared(output))
    if trial.outputs:
        found.append(f"  it took {trial.memory_bytes / 1e6:.0f} MB and {trial.cpu:.0%} of a core, for one frame in {trial.every}")
    found += [f"  {name} cannot be compared: it gives no records" for name in trial.apart]
    return found
