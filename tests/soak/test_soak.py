"""A short soak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]


def test_random_kills_break_no_promise() -> None:
    """In a process of its own, whose memory and descriptors are nobody else's."""
    command = [sys.executable, "-m", "tests.soak", "--seconds", "25", "--kill-every", "3"]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=170, check=False)
    found = json.loads(done.stdout)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert found["broken"] == []
    assert sum(found["kills"].values()) > 0
