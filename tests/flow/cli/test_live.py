from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from flow.cli import main; main()"]
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def on_a_terminal(folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs `ace` with standard error on a terminal: exit status and what was shown there."""
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    shown: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                shown.append(data)
        except OSError:  # the last process that had the terminal has gone
            pass

    reader = threading.Thread(target=read)
    reader.start()
    status = process.wait(120)
    reader.join(10)
    os.close(ours)
    return status, b"".join(shown).decode()


@pytest.mark.usefixtures("ace")
def test_run_shows_figures_on_a_terminal(tmp_path: Path) -> None:
    status, shown = on_a_terminal(tmp_path, "run", "motion.yaml", "--bind", "camera=synthetic:pen?size=160x120&frames=40")
    assert status == 0
    assert re.search(r"camera \d+\.\d frames a second", shown)
    assert not COLOUR.search(shown), "NO_COLOR asks for none"
    assert "motion.tracks: " in shown.rpartition("\x1b")[2], "the summary stands below, when the figures have gone"


def test_demo_shows_a_table_on_a_terminal(tmp_path: Path) -> None:
    status, shown = on_a_terminal(tmp_path, "demo", "--frames", "40")
    assert status == 0
    assert "last result" in shown
    assert "inferences, each of them for gesture and pet" in shown
    assert not COLOUR.search(shown)
