import os
import subprocess
import sys

import pytest

from devices.kernels import load
from devices.kernels.signatures import SIGNATURES

NEEDY = """
import math
import numpy as np
from numba import njit
from devices.kernels.source.memory import load_f64, store_f32

@njit
def needy(x):
    store_f32(x, 0, np.float32(math.erf(load_f64(x, 1))))
"""


@pytest.mark.timeout(900)
def test_build_gives_a_loadable_object_and_says_its_steps(tmp_path, monkeypatch):
    """The whole way: an empty cache, a process of its own, a shared object with every kernel."""
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "ace"))
    said = []
    path = load.ensure(said.append)
    assert any("compiling kernel 1 of" in line for line in said)
    assert set(load.functions()) == set(SIGNATURES)
    assert path.stat().st_size < 2_000_000


def test_failing_build_tells_why(tmp_path, monkeypatch):
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "ace"))
    monkeypatch.setattr(sys, "executable", _script(tmp_path, "echo working; echo 'no space left' >&2; exit 3"))
    said = []
    with pytest.raises(load.KernelError, match="status 3: no space left"):
        load.ensure(said.append)
    assert "working" in said


def test_kernel_that_needs_more_than_libc_is_refused(tmp_path):
    """A kernel that calls into a math library cannot be linked: the build names the symbol."""
    (tmp_path / "needy.py").write_text(NEEDY)
    code = (
        "from devices.kernels import build, signatures\n"
        "needy = {'needy': signatures.Signature('needy', 'needy', ('x',))}\n"
        "build.SIGNATURES = needy\n"
        "build.compile_kernels()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "kernels may call nothing but clock_gettime, epoll_wait, memcpy, memmove, memset, sched_yield, write, got erf" in done.stderr


def _script(folder, body):
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)
