from __future__ import annotations

import sys


def devices() -> None:
    """List devices and engines, and what each lacks.

    Of this machine, and of each model that was prepared.
    """
    from devices import available, broken
    from devices.prepare import choices
    from flow.cli.table import show

    rows = []
    for device in available():
        declared = f": {device.declared}" if device.declared else ""
        kind = f"{device.kind} (emulated{declared})" if device.emulated else device.kind
        about = [device.name, kind, str(device.cores), f"{device.memory_bytes / 2**20:.0f}"]
        for engine in device.engines:
            why = device.missing or engine.missing
            rows.append([*about, engine.name, ", ".join(engine.precisions), f"no: {why}" if why else "yes"])
        if not device.engines:
            rows.append([*about, "-", "-", f"no: {device.missing or 'no engine runs on it'}"])
    show("Devices and engines", ("device", "kind", "cores", "free MB", "engine", "precisions", "usable"), rows)
    if prepared := [[name, choice.engine, choice.why] for name, choice in choices()]:
        print()
        show("Models that were prepared", ("model", "runs on", "because"), prepared)
    for plugin in broken():
        print(f"{plugin.group}: {plugin.name} cannot be used: {plugin.reason}", file=sys.stderr)
