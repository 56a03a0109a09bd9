"""A device without a cloud, and the office that signs for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from manifests.bundle.bundle import opened
from manifests.store.store import install_factory
from manifests.sync.agent.agent import Agent, Settings
from manifests.sync.desired import ANY_DEVICE
from manifests.sync.offline import Update
from manifests.trust.contents import signable
from manifests.trust.envelope import seal
from manifests.trust.repository import Repository
from tests.manifests.sync.conftest import packed

NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Site:
    """A device without a cloud, the office that signs its files, and its inbox."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.office = Repository.create(folder / "office", NOW)
        packed(folder / "manifests").save(folder / "factory.ace")
        install_factory(folder / "store", folder / "factory.ace")
        self.said: list[str] = []

    def start(self, root: bytes | None = None) -> Site:
        settings = Settings(self.folder / "store", ["true"], root=self.office.first_root() if root is None else root)
        self.agent = Agent(settings, self.said.append)
        self.agent.updater.boot()
        return self

    def stop(self) -> None:
        self.agent._files.close()
        self.agent.store.close()

    def update(self, version: str, revision: int, *, office: Repository | None = None, now: datetime = NOW, **changes: Any) -> Update:
        """What the office writes beside this version into a file. With `key`, signed by that instead of the key for update files."""
        office, key = office or self.office, changes.pop("key", None)
        packed(self.folder / "manifests", model=version, weights=version.encode()).save(self.folder / "plain.ace")
        with opened(self.folder / "plain.ace") as bundle:
            office.add({item: terms for item, terms in signable(bundle).items() if not office.signed(item)}, now)
            desired = bundle.desired(ANY_DEVICE, revision=revision, issued=now.isoformat()).model_copy(update=changes)
        update = office.update(desired, now)
        return update if key is None else update.model_copy(update={"desired": seal(desired, key)})

    def bring(self, version: str, update: Update) -> str:
        """Copies a file into the inbox; gives the code with which it was refused, empty where it was taken."""
        path = self.agent.store.root / "inbox" / "stick.ace"
        packed(self.folder / "manifests", model=version, weights=version.encode()).save(path, update.encoded())
        before = len(self.agent.updater.reports(1000))
        self.agent._inbox.look()
        self.agent._inbox.look()
        reports = [report.body for report in self.agent.updater.reports(1000)[before:]]
        path.unlink()
        (body,) = reports or [{"kind": "refused", "code": "", "reason": "-"}]
        assert body["kind"] == "refused"
        assert body["reason"]
        return str(body["code"])

    @property
    def wanted(self) -> int:
        """The newest revision that was taken."""
        return int(self.agent.store.fact("floor", 0))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path).start()
    yield made
    made.stop()
