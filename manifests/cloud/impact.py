"""What a change would do, before anything is sent: the cost of what is new, times what the devices have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from manifests.cloud import fit
from manifests.cloud.desire import Change, name_of
from manifests.cloud.edits import bytes_missing
from manifests.cloud.errors import Refusal
from manifests.cloud.inventory import online, reported, wanted
from manifests.cloud.library import Library

SHOWN = 100


def impact(connection: Connection, library: Library, ids: Sequence[str], change: Change) -> dict[str, Any]:
    """Devices and businesses that a change touches, and what stands against it. Devices are shown by name, at most 100 of a kind.

    `sequential`: do not hold old and new at once, so that the old ends first and results cease for up to about `gap_s`; `lacks_ram`: do not
    hold the new one alone. `without_figures`: what no bundle says the memory of, so that only its files are counted.
    """
    states, present, here = reported(connection, ids), wanted(connection, ids), online(connection, ids)
    businesses: Counter[str] = Counter()
    kept: dict[str, str] = {}
    kinds = ("touched", "unchanged", "sequential", "lacks_ram", "unreported", "lacks_disk", "offline", "held")
    groups: dict[str, list[str]] = {key: [] for key in kinds}
    refused: dict[str, list[str]] = {}
    gaps: list[float] = []
    without_figures: set[str] = set()
    download = 0
    for device in ids:
        try:
            edit = change(present[device])
        except Refusal as refusal:
            refused.setdefault(refusal.reason, []).append(device)
            continue
        state = states.get(device)
        missing = bytes_missing(edit.desired, state.stored if state else (), library)
        download += missing
        businesses.update(edit.touched)
        kept.update(edit.kept)
        groups["touched" if edit.touched or missing else "unchanged"].append(device)
        if state is not None and missing > state.disk_bytes:
            groups["lacks_disk"].append(device)
        if edit.touched:
            memory = fit.change(state.active if state else present[device].active, edit.desired.active, library)
            without_figures.update(memory.without_figures)
            if state is None:
                groups["unreported"].append(device)
            elif not memory.alone(state.ram_bytes):
                groups["lacks_ram"].append(device)
            elif not memory.beside(state.ram_bytes):
                groups["sequential"].append(device)
                gaps.append(memory.gap_s)
        if device not in here:
            groups["offline"].append(device)
        if present[device].hold or (state is not None and state.hold):
            groups["held"].append(device)

    def shown(devices: Sequence[str]) -> dict[str, Any]:
        return {"count": len(devices), "devices": sorted(name_of(connection, device) for device in devices[:SHOWN])}

    return {
        "devices": len(ids),
        "businesses": dict(businesses),
        "kept": kept,
        "download_bytes": download,
        **{key: shown(devices) for key, devices in groups.items()},
        "gap_s": round(max(gaps, default=0.0), 1),
        "without_figures": sorted(without_figures),
        "refused": {reason: shown(devices) for reason, devices in refused.items()},
    }
