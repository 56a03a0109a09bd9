"""The file that `--report` names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer import BadParameter

if TYPE_CHECKING:
    from flow.plan.value import Plan


def check_writable(path: Path) -> None:
    """Refuses a report that could not be written, before any work is done. Raises typer.BadParameter."""
    folder = path.parent
    if not folder.is_dir():
        raise BadParameter(f"the folder {folder} does not exist; make it first", param_hint="'--report'")
    if path.is_dir():
        raise BadParameter(f"{path} is a folder; name a file", param_hint="'--report'")
    if not os.access(folder, os.W_OK):
        raise BadParameter(f"no permission to write in {folder}", param_hint="'--report'")


def check_apart(path: Path, plan: Plan, manifests: Sequence[Path]) -> None:
    """Refuses a report that would replace a file that the run reads or writes. Raises typer.BadParameter."""
    for file, what in _in_use(plan, manifests):
        try:
            same = path.resolve() == file.resolve() or path.samefile(file)
        except OSError:
            continue
        if same:
            raise BadParameter(f"expected a file of its own for the report, got {path}, {what}", param_hint="'--report'")


def _in_use(plan: Plan, manifests: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Files that a run reads or writes, and what they are."""
    from flow.sources import path_of

    yield from ((Path(stream.source), f"the source of stream {stream.name}") for stream in plan.streams)
    yield from ((model.path, f"the file of model {model.name}") for model in plan.models)
    yield from ((file, "one of the manifests") for file in manifests)
    for sink in plan.sinks:
        if sink.target.startswith("file:") or ":" not in sink.target:
            yield path_of(sink.target), f"where {sink.business}.{sink.output} is written to"


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """The report as JSON; the file is replaced as a whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(report, indent=2) + "\n")
    partial.replace(path)
