"""Many devices on one server: a rollout to all, a server that is killed and comes back. Nothing is lost, nothing is done twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the cloud needs the extra `cloud`")

from .harness import Rig


@pytest.fixture
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    count, processes = request.param
    made = Rig(tmp_path, count, processes)
    made.prepare()
    try:
        yield made
    finally:
        made.close()


def play(rig: Rig, patience: float) -> list[str]:
    """Connect, roll out, kill the server in the middle of a second rollout, account. Lines of figures."""
    said = []
    rig.serve()
    rig.connect()

    def figures(name: str, seconds: float, cpu: float, events: int) -> None:
        now, memory = rig.cost()
        spent = 1e3 * (now - cpu) / rig.count
        said.append(f"{name}: {seconds:.1f} s, server CPU {spent:.2f} ms a device, {events} transitions, memory {memory / 2**20:.0f} MiB")

    _, empty = rig.cost()
    seconds = rig.wait("all have connected", lambda: rig.number("SELECT count(*) FROM shadows") == rig.count, patience)
    figures("connect", seconds, 0.0, 0)
    said.append(f"memory a device: {(rig.cost()[1] - empty) / 2**10 / rig.count:.1f} KiB")
    rig.wait("all are online", lambda: rig.number("SELECT count(*) FROM seen") == rig.count, patience)
    cpu, _ = rig.cost()
    first = rig.rollout("model/detector@1.1.0")
    seconds = rig.wait("the first rollout is done", lambda: rig.rolled_out(first), patience)
    figures("rollout", seconds, cpu, rig.number("SELECT count(*) FROM transitions"))

    second = rig.rollout("model/detector@1.0.0")
    sent = "SELECT count(*) FROM participants WHERE rollout = ? AND state != 'waiting'"
    rig.wait("the second rollout is under way", lambda: rig.number(sent, second) > rig.count // 3, patience)
    rig.kill()
    moment = time.time()
    rig.serve()
    seconds = rig.wait("all are back", lambda: rig.number("SELECT count(*) FROM seen WHERE at > ?", moment) == rig.count, patience)
    figures("storm", seconds, 0.0, rig.number("SELECT count(*) FROM transitions"))
    rig.wait("the second rollout is done", lambda: rig.rolled_out(second), patience)
    told: dict[str, Any] = rig.account()
    assert not told["waiting"]
    said.append(f"messages of devices, both ways: {told['messages']}; handshakes: {told['greetings']}")
    return said


@pytest.mark.parametrize("rig", [(50, 2)], indirect=True, ids=["50"])
def test_nothing_is_lost_or_done_twice(rig: Rig) -> None:
    play(rig, 120)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rig", [(10_000, 4)], indirect=True, ids=["10000"])
def test_ten_thousand_devices(rig: Rig, benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    said = benchmark.pedantic(play, args=(rig, 1800), rounds=1)
    with capsys.disabled():
        print("\n" + "\n".join(said))
