from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the cloud needs the extra `cloud`")
pytest.importorskip("sqlalchemy", reason="the cloud needs the extra `cloud`")

from manifests.cloud.service import Cloud

from .fleet import Device, make_cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A cloud that serves devices."""
    made = make_cloud(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def device(tmp_path: Path, cloud: Cloud) -> Iterator[Callable[..., Device]]:
    """Makes devices that are let in and connected: `device("kitchen", cohort="home", bad=["model/detector@2.0.0"])`."""
    made: list[Device] = []

    def make(name: str, *, cohort: str = "default", bad: tuple[str, ...] = (), enrol: bool = True) -> Device:
        new = Device(tmp_path, cloud, name, bad=bad)
        made.append(new)
        if enrol:
            new.enrol(cohort)
        return new

    yield make
    for each in made:
        each.stop()
