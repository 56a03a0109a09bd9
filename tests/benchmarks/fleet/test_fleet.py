"""Many devices on one server: a rollout to all, a server that is killed and comes back. Nothing is lost, nothing is done twice.

`ACE_FLEET=1000,3000,10000 pytest tests/benchmarks/fleet --benchmark-only -s` plays it with so many devices, one size after the other
(default 10000), and prints the figures side by side, so that one sees what grows with what.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the cloud needs the extra `cloud`")

from manifests.sync.agent.session import Times

from .harness import Rig

Figures = dict[str, str]
REST_S = 60.0
"""How long nothing but heartbeats is heard."""


def play(folder: Path, count: int, processes: int, patience: float, rest_s: float = 0.0) -> Figures:
    """Connect, rest, roll out, kill the server in the middle of a second rollout, account."""
    rig = Rig(folder, count, processes)
    rig.prepare()
    try:
        return _played(rig, patience, rest_s)
    finally:
        rig.close()


def _played(rig: Rig, patience: float, rest_s: float) -> Figures:
    figures: Figures = {"devices": str(rig.count)}

    def note(what: str, seconds: float, cpu: float) -> None:
        now, memory = rig.cost()
        figures[f"{what}, s"] = f"{seconds:.1f}"
        figures[f"{what}, server CPU ms a device"] = f"{1e3 * (now - cpu) / rig.count:.2f}"
        figures[f"{what}, server memory MiB"] = f"{memory / 2**20:.0f}"

    rig.serve()
    cpu, empty = rig.cost()
    rig.connect()
    seconds = rig.wait("all have connected", lambda: rig.number("SELECT count(*) FROM shadows") == rig.count, patience)
    note("connect", seconds, cpu)
    figures["server memory KiB a device"] = f"{(rig.cost()[1] - empty) / 2**10 / rig.count:.1f}"
    rig.wait("all are online", lambda: rig.number("SELECT count(*) FROM seen") == rig.count, patience)

    if rest_s:
        times = Times()
        time.sleep(times.heartbeat * (1 + times.jitter))  # from then on every device speaks in its turn
        (cpu, _), carried = rig.cost(), rig.carrying()
        time.sleep(rest_s)
        heartbeats = rig.count * rest_s / times.heartbeat
        figures["at rest, server CPU ms a heartbeat"] = f"{1e3 * (rig.cost()[0] - cpu) / heartbeats:.2f}"
        figures["of it in libzmq's thread"] = f"{1e3 * (rig.carrying() - carried) / heartbeats:.2f}"

    cpu, _ = rig.cost()
    first = rig.rollout("model/detector@1.1.0")
    seconds = rig.wait("the first rollout is done", lambda: rig.rolled_out(first), patience)
    note("rollout", seconds, cpu)

    second = rig.rollout("model/detector@1.0.0")
    sent = "SELECT coalesce(sum(devices), 0) FROM tallies WHERE rollout = ? AND state != 'waiting'"
    rig.wait("the second rollout is under way", lambda: rig.number(sent, second) > rig.count // 3, patience)
    rig.kill()
    moment = time.time()
    rig.serve()
    seconds = rig.wait("all are back", lambda: rig.number("SELECT count(*) FROM seen WHERE at > ?", moment) == rig.count, patience)
    note("storm, the rest of a rollout with it", seconds, 0.0)
    rig.wait("the second rollout is done", lambda: rig.rolled_out(second), patience)
    figures["database bytes a device"] = f"{rig.database_bytes() / rig.count:.0f}"
    told: dict[str, Any] = rig.account()
    assert not told["waiting"]
    figures["lost"] = figures["applied twice"] = "0"  # the account has compared what was done with what was heard
    for name in ("messages", "bytes"):
        figures[f"{name} a device, both ways"] = f"{told[name] / rig.count:.1f}"
    figures["handshakes a device"] = f"{told['greetings'] / rig.count:.2f}"
    return figures


def table(columns: list[Figures]) -> str:
    """The figures of each size side by side."""
    names = columns[0]
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  " + "  ".join(f"{column[name]:>10}" for column in columns) for name in names)


def test_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    play(tmp_path, 50, 2, 120)


@pytest.mark.timeout(7200)
def test_many_devices(tmp_path: Path, benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [int(each) for each in os.environ.get("ACE_FLEET", "10000").split(",")]
    columns: list[Figures] = []

    def all_sizes() -> None:
        for size in sizes:
            folder = tmp_path / str(size)
            folder.mkdir()
            columns.append(play(folder, size, max(2, min(4, size // 2500)), 1800, REST_S))

    benchmark.pedantic(all_sizes, rounds=1)
    benchmark.extra_info["figures"] = columns
    with capsys.disabled():
        print("\n" + table(columns))
