"""What docs/fleet.md tells a reader to type works, in the order in which it is read."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .world import COMMAND, environment, wait_for

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "fleet.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Reader:
    """Somebody who types every command, and leaves those running that do not end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.environment = folder, environment()
        self.running: list[subprocess.Popen[str]] = []
        (folder / "ace").write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
        (folder / "ace").chmod(0o755)
        self.environment["PATH"] = f"{folder}{os.pathsep}{self.environment['PATH']}"

    def type(self, line: str) -> str:
        done = subprocess.run(line, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def leave_running(self, line: str) -> subprocess.Popen[str]:
        with (self.folder / f"said-{len(self.running)}.txt").open("w") as said:
            self.running.append(
                subprocess.Popen(
                    ["sh", "-c", f"exec {line}"], cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=said
                )
            )
        return self.running[-1]

    def begin_cloud(self, line: str) -> None:
        """On free ports."""
        stdout = self.leave_running(f"{line} --listen 'tcp://127.0.0.1:*' --http 127.0.0.1:0").stdout
        assert stdout is not None
        _, people, token = (stdout.readline().split() for _ in range(3))
        self.environment |= {"ACE_CLOUD": people[1], "ACE_TOKEN": token[-1]}

    def wait(self, line: str, text: str) -> None:
        def came() -> bool:
            done = subprocess.run(line, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120)
            return text in done.stdout

        # Each look is a process, which takes more work than all that it waits for.
        wait_for(came, lambda: [path.read_text() for path in sorted(self.folder.glob("said-*.txt"))], pause_s=1.0)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    for process in reversed(made.running):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.timeout(400)
def test_the_quick_start(reader: Reader) -> None:
    text = DOCUMENT.read_text()
    section = text[text.index("## Quick start") : text.index("## A device")]
    lines = []
    for language, file, content in BLOCK.findall(section):
        if file:
            (reader.folder / file).write_text(content)
        elif language == "sh":
            lines += content.splitlines()
    for line in lines:
        if line.startswith("ace cloud"):
            reader.begin_cloud(line)
        elif line.startswith("ace agent"):
            reader.leave_running(f"{line} --workers threads")
            reader.wait("ace fleet list", "pending")
        elif line == "ace query porch":
            reader.wait(line, "business/motion@1.1.0\n" if (reader.folder / "new").exists() else "business/motion@1.0.0\n")
            if (reader.folder / "new").exists():
                reader.wait(line, "revision 1: done (committed)")
        elif not line.startswith("export ACE_TOKEN"):
            reader.type(line)
    reader.wait("ace query porch", "business/motion@1.0.0\nstored")
    _, agent = reader.running
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(60) == 0
    assert (reader.folder / "moving.jsonl").read_text().count('"version":"1.1.0"') > 5
