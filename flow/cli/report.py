"""The file that `--report` names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer import BadParameter


def check_writable(path: Path) -> None:
    """Refuses a report that could not be written, before any work is done. Raises typer.BadParameter."""
    folder = path.parent
    if not folder.is_dir():
        raise BadParameter(f"the folder {folder} does not exist; make it first", param_hint="'--report'")
    if path.is_dir():
        raise BadParameter(f"{path} is a folder; name a file", param_hint="'--report'")
    if not os.access(folder, os.W_OK):
        raise BadParameter(f"no permission to write in {folder}", param_hint="'--report'")


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """The report as JSON; the file is replaced as a whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(report, indent=2) + "\n")
    partial.replace(path)
