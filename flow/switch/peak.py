"""What workers and shared memory take while two plans are there."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flow.courtesy import courteously
from flow.executor.workers import Worker
from flow.switch.cut import Steps
from flow.switch.proof import memory_of

if TYPE_CHECKING:
    from flow.executor.supervisor import Supervisor


def memory(supervisor: Supervisor, workers: Iterable[Worker]) -> Steps:
    """Their bytes. They are counted in a thread that steps back: the kernel takes milliseconds for each, and frames are under way."""
    found: list[int] = []
    chosen = list(workers)

    def count() -> None:
        found.append(courteously(lambda: memory_of(chosen)) + supervisor.shared_bytes())
        supervisor.poke()

    threading.Thread(target=count, name="ace-memory", daemon=True).start()
    while not found:
        yield
    return found[0]
