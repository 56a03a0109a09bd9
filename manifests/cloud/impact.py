"""What a change would do, before anything is sent: the cost of what is new, times what the devices have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from manifests.cloud.desire import Change, name_of
from manifests.cloud.edits import bytes_missing, ram_needed
from manifests.cloud.errors import Refusal
from manifests.cloud.inventory import online, reported, wanted
from manifests.cloud.library import Library

SHOWN = 100


def impact(connection: Connection, library: Library, ids: Sequence[str], change: Change) -> dict[str, Any]:
    """Devices and businesses that a change touches, and what stands against it. Devices are shown by name, at most 100 of a kind."""
    states, present, here = reported(connection, ids), wanted(connection, ids), online(connection, ids)
    businesses: Counter[str] = Counter()
    kept: dict[str, str] = {}
    groups: dict[str, list[str]] = {key: [] for key in ("touched", "unchanged", "lacks_ram", "lacks_disk", "offline", "held")}
    refused: dict[str, list[str]] = {}
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
        if state is not None and ram_needed(edit, present[device], library) > state.ram_bytes:
            groups["lacks_ram"].append(device)
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
        "refused": {reason: shown(devices) for reason, devices in refused.items()},
    }
