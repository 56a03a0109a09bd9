from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flow.cli.preloaded import Preloaded

COMMAND = [sys.executable, "-c", "from flow.cli import main; main()"]

MOTION = """\
apiVersion: ace/v1
kind: Business
name: motion
version: 1.0.0
inputs: {camera: image}
graph:
  moving: {op: motion.background, in: {image: camera}, config: {warmup: 2}}
  tracks: {op: track.iou, in: {detections: moving.detections}}
outputs: {tracks: tracks}
"""


Ace = Callable[..., "subprocess.CompletedProcess[str]"]


def environment() -> dict[str, str]:
    """Without what would make the command colour its text or think of a terminal."""
    return {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "COLUMNS"}}


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Preloaded]:
    with Preloaded() as made:
        yield made


@pytest.fixture
def ace(tmp_path: Path, preloaded: Preloaded) -> Ace:
    """Runs `ace` with these arguments in a folder of its own that holds motion.yaml."""
    (tmp_path / "motion.yaml").write_text(MOTION)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return preloaded.run(arguments, tmp_path, environment(), timeout=120)

    return run


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `ace` in the same folder and leaves it running; what it says on standard error lies in errors.txt."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        with (tmp_path / "errors.txt").open("w") as errors:
            return subprocess.Popen(
                [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=errors, text=True, stdin=subprocess.DEVNULL,
                env=environment(), start_new_session=True,
            )  # fmt: skip

    return start
