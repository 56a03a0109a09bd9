from __future__ import annotations

import pytest

from flow.cli.ops import lines, row
from ops import catalog


@pytest.mark.parametrize("kind", catalog.all().values(), ids=lambda kind: kind.op)
def test_every_operator_is_shown_with_ports_and_settings(kind: catalog.Kind) -> None:
    about = catalog.describe(kind)
    shown = lines(about)
    assert all(row(about)), "an operator has a name, a kind, ports and a docstring"
    for name in [*about.inputs, *about.outputs, *(setting.name for setting in about.settings)]:
        assert any(line.startswith(f"  {name}: ") for line in shown)
    assert not any(setting.type == "any" for setting in about.settings), "every setting says what it takes"


def test_the_list_fits_a_terminal_of_80_columns() -> None:
    import fcntl
    import os
    import struct
    import subprocess
    import sys
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")} | {"TERM": "dumb"}
    command = [sys.executable, "-c", "from flow.cli import main; main()", "ops"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # the terminal has gone with the last process
        pass
    os.close(ours)
    assert process.wait(60) == 0
    lines = shown.decode().splitlines()
    assert max(map(len, lines)) <= 80
    begun = [line.split()[0] for line in lines if line.strip()]
    assert {name for name in catalog.all() if name.partition(".")[0] != "test"} <= set(begun), (
        "every name stands whole at the beginning of a line"
    )


def test_a_composite_shows_what_it_stands_for() -> None:
    shown = "\n".join(lines(catalog.describe(catalog.find("detect.yolox"))))
    assert "stands for:\n  letterbox: image.letterbox\n  infer: nn.infer\n" in shown
    assert "\n  score: number 0..1 (0.35)\n" in shown
