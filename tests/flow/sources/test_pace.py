"""The waits of a paced source."""

from __future__ import annotations

import threading
import time

from flow.sources.pace import Pace


def test_a_wait_takes_its_time() -> None:
    started = time.monotonic()
    assert Pace().wait(0.01)
    assert time.monotonic() - started >= 0.01
    assert Pace().wait(-1.0)


def test_the_end_ends_the_wait_under_way_and_every_later_one() -> None:
    pace, found = Pace(), []
    thread = threading.Thread(target=lambda: found.extend(pace.wait(600.0) for _ in range(3)))
    thread.start()
    pace.end()
    pace.end()
    thread.join(60)
    assert found == [False, False, False]
    assert pace.ended
