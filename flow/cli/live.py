"""Figures that are redrawn in place on a terminal; nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def live(wanted: bool = True) -> Iterator[Callable[[Any], None] | None]:
    """Gives a function that shows a text or rich renderable in place of the last one on standard error, or None without a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=True) as screen:
        yield lambda shown: screen.update(Text(shown) if isinstance(shown, str) else shown, refresh=True)
