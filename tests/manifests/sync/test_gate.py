"""When an update may be switched to: hours of the day, and locks of the programs beside."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from manifests.store.store import Store, install_factory
from manifests.sync.gate import Gate
from tests.manifests.sync.conftest import packed

DEVICE = """\
apiVersion: ace/v1
kind: Device
name: hall
streams: {{front: {{source: "synthetic:home"}}}}
maintenance: [{hours}]
"""


def at(hour: int, minute: int, year: int = 2026) -> time.struct_time:
    return time.struct_time((year, 11, 20, hour, minute, 0, 4, 324, 0))


@pytest.mark.parametrize(
    ("hours", "opens", "closed"),
    [
        ('"02:00-05:00"', [at(2, 0), at(4, 59), at(3, 0, 2016), at(3, 0, 2036)], [at(1, 59), at(5, 0), at(14, 0)]),
        ('"22:00-05:00"', [at(22, 0), at(23, 59), at(0, 0), at(4, 59)], [at(5, 0), at(21, 59)]),
        ('"02:00-03:00", "12:00-12:30"', [at(2, 30), at(12, 29)], [at(3, 0), at(12, 30)]),
        ("", [at(0, 0), at(13, 0)], []),
    ],
)
def test_hours_of_the_day(tmp_path: Path, hours: str, opens: list[time.struct_time], closed: list[time.struct_time]) -> None:
    """Of any year: a clock that is wrong by ten of them changes nothing."""
    own = tmp_path / "device.yaml"
    own.write_text(DEVICE.format(hours=hours))
    packed(tmp_path / "m").save(tmp_path / "factory.ace")
    install_factory(tmp_path / "store", tmp_path / "factory.ace")
    with Store(tmp_path / "store") as store:
        running = store.generations.role("active")
        assert running is not None
        desired = running.desired.model_copy(update={"document": None})
        for day in opens:
            assert Gate(store, own, lambda day=day: day)(desired) == ""  # type: ignore[misc]
        for day in closed:
            why = Gate(store, own, lambda day=day: day)(desired)  # type: ignore[misc]
            assert why == f"hall is changed at {hours.replace(', ', ' or ').replace(chr(34), '')} alone"


def test_a_lock_keeps_everything_as_it_is(tmp_path: Path) -> None:
    packed(tmp_path / "m").save(tmp_path / "factory.ace")
    install_factory(tmp_path / "store", tmp_path / "factory.ace")
    with Store(tmp_path / "store") as store:
        gate = Gate(store, None)
        running = store.generations.role("active")
        assert running is not None
        assert gate(running.desired) == ""
        lock = gate.folder / "recorder"
        lock.write_text("we are on air\nuntil six" + "!" * 1000)
        assert gate(running.desired).startswith(f"{lock} is there: we are on air until six!!")
        assert len(gate(running.desired)) < len(str(lock)) + 250
        lock.unlink()
        (gate.folder / "folder").mkdir()
        assert gate(running.desired) == f"{gate.folder / 'folder'} is there"
