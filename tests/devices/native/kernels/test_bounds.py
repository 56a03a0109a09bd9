"""Checked kernels trap on an access outside their buffers; the other tests run in fenced memory and on checked kernels as well."""

import signal
import subprocess
import sys

import pytest

from devices.native.isa import best
from devices.native.kernels import ensure

RUN = """
import numpy as np, sys
from devices.native.isa import best
from devices.native.kernels import library
kernels = library(best(), checked=True)
memory = {name: np.zeros(4096, np.uint8) for name in ("x", "out", "table")}
sizes = {"x": 32, "out": 32, "table": 256}
short, by = sys.argv[1], int(sys.argv[2])
if short:
    sizes[short] -= by
given = {f"{name}_bytes": size for name, size in sizes.items()}
words = kernels.kernels["table_u8"].words(**memory, channels=32, stride_x=32, stride_out=32)
for name, size in given.items():
    words.values[kernels.kernels["table_u8"].fields.index(name)] = size
memory["x"][:] = 255
kernels.run("table_u8", words, 0, 1)
print("done")
"""


@pytest.mark.parametrize(("short", "by"), [("x", 1), ("out", 1), ("table", 1), ("x", 33)])
def test_a_buffer_that_is_too_short_traps(short, by):
    ensure(best(), checked=True)
    done = subprocess.run([sys.executable, "-c", RUN, short, str(by)], capture_output=True, text=True, check=False)
    assert done.returncode in (-signal.SIGILL, -signal.SIGTRAP), done
    assert "done" not in done.stdout


def test_buffers_of_the_right_size_do_not():
    ensure(best(), checked=True)
    assert subprocess.run([sys.executable, "-c", RUN, "", "0"], capture_output=True, text=True, check=True).stdout == "done\n"


def test_no_read_reaches_farther_than_declared():
    from llvmlite import ir

    from devices.native.kernels.emit import Code, i8

    code = Code(ir.Module("test"), best(), "f", ("address",), checked=True)
    place = code.region(code.arguments["address"], code.arguments["address"])
    with pytest.raises(ValueError, match="at most 64 bytes past the end, got 65"):
        code.load(i8, place, over=65)
