"""Runs a compiler in a process of its own, which ends afterwards: none of it stays where frames flow."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devices.kernels.cache import OBJECT, KernelError

Report = Callable[[str], None]
REFUSED = 65
"""Exit status (EX_DATAERR) of a compiler that will not have what it was given, and says why."""
BUILD_SECONDS = 900
"""Longest time a build may take before it counts as hung (a small ARM board needs about a minute)."""


class Refused(KernelError):
    """What a compiler says of an input that it will not have."""


def compile_apart(
    module: str, arguments: Callable[[Path], Sequence[str]], what: str, report: Report, environment: Mapping[str, str] | None = None
) -> bytes:
    """What `python -m module` writes to the file that `arguments` are made for; each line it prints is reported.

    The child gets our import path by environment, so that a script's own folder is not searched. Raises KernelError, and Refused where the
    child ends with status REFUSED.
    """
    package_root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory(prefix="ace-build-") as folder, tempfile.TemporaryFile() as errors:
        output = Path(folder) / OBJECT
        report(f"{what} (once; some seconds)")
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments(output)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, **(environment or {}), "PYTHONPATH": path},
        )  # fmt: skip
        try:
            assert child.stdout is not None
            with child.stdout:
                for line in child.stdout:
                    report(line.rstrip())
            status = child.wait(BUILD_SECONDS)
        finally:
            child.kill()
            child.wait()
        if status != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            if status == REFUSED:
                raise Refused(said)
            tail = said.splitlines()[-3:]
            raise KernelError(f"{what} failed with status {status}: {' / '.join(tail) or 'no message'}")
        return output.read_bytes()
