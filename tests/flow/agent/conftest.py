from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the cloud needs the extra `cloud`")
pytest.importorskip("sqlalchemy", reason="the cloud needs the extra `cloud`")

from .world import Cloud, Device


@pytest.fixture
def cloud(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """A cloud on SQLite, or on PostgreSQL where that is asked for."""
    url = request.getfixturevalue("postgres") if getattr(request, "param", "") == "postgresql" else ""
    made = Cloud(tmp_path, url)
    made.start()
    yield made
    made.stop()


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
