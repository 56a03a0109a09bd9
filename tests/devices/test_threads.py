from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devices.threads import environment

ROOT = Path(__file__).resolve().parents[2]

BLAS = """
import ctypes, os, re
from devices.threads import _loaded
names = ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads", "openblas_get_num_threads")
counts = [getattr(library, name)() for library in _loaded("openblas") for name in names if hasattr(library, name)]
"""


def said(code: str, **environ: str) -> str:
    """What a fresh interpreter prints, with two processors to its mind."""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=clean | environ)
    return done.stdout.strip()


def test_libraries_obey_the_environment() -> None:
    found = said(f"import numpy, cv2\n{BLAS}\nprint(cv2.getNumThreads(), set(counts))", **environment(1))
    assert found == "1 {1}"


def test_libraries_that_are_loaded_already_obey_too() -> None:
    found = said(f"import numpy, cv2\nfrom devices.threads import limit\nlimit(1)\n{BLAS}\nprint(cv2.getNumThreads(), set(counts))")
    assert found == "1 {1}"


def test_libraries_that_are_loaded_later_obey_too() -> None:
    assert said("from devices.threads import limit\nlimit(1)\nimport cv2\nprint(cv2.getNumThreads())") == "1"


def test_waiting_threads_sleep() -> None:
    assert environment(3)["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment(3)["OMP_NUM_THREADS"] == "3"


def test_no_threads() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        environment(0)
