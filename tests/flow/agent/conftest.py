from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the cloud needs the extra `cloud`")
pytest.importorskip("sqlalchemy", reason="the cloud needs the extra `cloud`")

from .world import Device


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Callable[..., Device]]:
    """Makes devices; whatever becomes of them, their processes end with the test."""
    made: list[Device] = []

    def make(name: str = "porch", **options: Any) -> Device:
        made.append(Device(tmp_path, name, **options))
        return made[-1]

    yield make
    for each in made:
        each.clean_up()
