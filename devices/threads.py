"""Thread counts of the libraries that start threads of their own: OpenCV, BLAS, OpenMP, numba. ONNX Runtime is told by its engine."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

COUNTS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS", "OPENCV_FOR_THREADS_NUM",
)  # fmt: skip

OPENBLAS = tuple(f"{vendor}openblas_set_num_threads{bits}" for vendor in ("scipy_", "") for bits in ("64_", ""))


def environment(threads: int) -> dict[str, str]:
    """Environment variables that hold a new process to this many threads, and keep its waiting threads asleep. Raises ValueError."""
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, got {threads}")
    return {**dict.fromkeys(COUNTS, str(threads)), "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def limit(threads: int) -> None:
    """Holds this process to `threads` for each library: those in memory now, the others when they are imported. Raises ValueError."""
    os.environ.update(environment(threads))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
    for library in _loaded("openblas"):
        for name in OPENBLAS:
            if set_threads := getattr(library, name, None):
                set_threads.argtypes, set_threads.restype = [ctypes.c_int], None
                set_threads(threads)
                break


def _loaded(name: str) -> list[ctypes.CDLL]:
    """Shared libraries of this process whose file name contains `name`."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    paths = set(re.findall(rf"(/\S*{name}[^/\s]*\.so[^/\s]*)$", maps, re.MULTILINE))
    libraries = []
    for path in sorted(paths):
        try:
            libraries.append(ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW))
        except OSError:  # replaced on disk since it was loaded
            continue
    return libraries
