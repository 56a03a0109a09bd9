from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

PARTS = Path(__file__).parent / "parts"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Installs the distribution of sources, operators, devices and sinks, in this process and in those it starts."""
    from devices import registry
    from ops import catalog

    def look_again() -> None:
        importlib.invalidate_caches()
        catalog.forget()
        registry.refresh()

    monkeypatch.syspath_prepend(str(PARTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(PARTS), os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("ACE_BENCH_ROOT", str(os.getpid()))
    look_again()
    yield PARTS
    monkeypatch.undo()
    look_again()


@pytest.fixture
def peers(parts: Path) -> None:
    """The peers are installed, or the test is skipped."""
    from .theirs import missing

    if lacking := missing():
        pytest.skip(f"peers that are not installed: {', '.join(lacking)}; pip install -e '.[test,peers]'")
