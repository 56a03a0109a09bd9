"""Progress bars on a terminal; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]


@contextmanager
def bars() -> Iterator[Progress]:
    """Gives a function that is told what is being done, how much of it is done and how much there is."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    tasks: dict[str, TaskID] = {}
    with Bars(console=Console(stderr=True), transient=True) as screen:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = screen.add_task(what, total=total)
            screen.update(tasks[what], completed=done, total=total)

        yield show
