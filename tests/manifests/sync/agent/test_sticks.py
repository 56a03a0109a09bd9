"""What a signed file must carry to be taken: the trust of the repository, as online, and each attack on it with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
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


def test_a_file_carries_all_that_a_device_needs(site: Site) -> None:
    assert site.bring("1.1.0", site.update("1.1.0", 1)) == ""
    assert site.wanted == 1
    known = site.agent._metadata
    assert known is not None
    assert known.figures() is not None
    assert site.bring("1.2.0", site.update("1.2.0", 2, now=NOW + timedelta(days=3))) == ""
    assert site.wanted == 2


def test_root_keys_change_on_the_way(site: Site) -> None:
    """Every root since the first travels with the file."""
    root = site.office.root()
    root.signed.version = 2
    site.office._write(site.office._sign(root, [_key(site, "root-1")]), "2.root.json")
    update = site.update("1.1.0", 1)
    assert "2.root.json" in update.metadata
    assert site.bring("1.1.0", update) == ""


def without(update: Update, role: str) -> Update:
    """A file that lacks the metadata of this role."""
    return update.model_copy(update={"metadata": {name: text for name, text in update.metadata.items() if role not in name}})


def mixed(site: Site) -> Update:
    """Today's snapshot with yesterday's targets."""
    old = site.update("1.1.0", 1)
    new = site.update("1.2.0", 2)
    (before,), (after,) = ([name for name in each.metadata if "targets" in name] for each in (old, new))
    return new.model_copy(update={"metadata": {**new.metadata, after: old.metadata[before]}})


def _key(site: Site, name: str, folder: str = "offline") -> Any:
    from manifests.trust import keys

    return keys.load(site.office.folder / folder / f"{name}.pem")


ATTACKS: dict[str, tuple[Callable[[Site], Update], set[str]]] = {
    "another repository": (lambda site: site.update("1.1.0", 1, office=Repository.create(site.folder / "stranger", NOW)), {"signature"}),
    "another key": (lambda site: site.update("1.1.0", 1, key=_key(site, "root-1")), {"signature"}),
    "the stolen online key, for every device": (lambda site: site.update("1.1.0", 1, key=site.office.director()), {"device"}),
    "the stolen online key, with other streams": (
        lambda site: site.update("1.1.0", 1, key=site.office.director(), device=site.agent.keys.name), {"document"},
    ),
    "another device's": (lambda site: site.update("1.1.0", 1, device="ab" * 32), {"device"}),
    "mix and match": (mixed, {"mixed", "rollback"}),
    "no timestamp": (lambda site: without(site.update("1.1.0", 1), "timestamp"), {"metadata"}),
    "no snapshot": (lambda site: without(site.update("1.1.0", 1), "snapshot"), {"metadata"}),
    "no targets": (lambda site: without(site.update("1.1.0", 1), "targets"), {"metadata"}),
    "no metadata": (lambda site: site.update("1.1.0", 1).model_copy(update={"metadata": {}}), {"metadata"}),
    "endless data": (
        lambda site: site.update("1.1.0", 1).model_copy(update={"metadata": {"timestamp.json": " " * 5_000_001}}), {"bundle"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_wrong_is_refused_with_its_reason(site: Site, attack: str) -> None:
    make, codes = ATTACKS[attack]
    assert site.bring("1.1.0", make(site)) in codes, site.said
    assert site.wanted == 0, "and nothing has changed"
    assert site.bring("1.3.0", site.update("1.3.0", 3)) == "", "a good one is taken afterwards"


def test_what_has_expired_stops_new_installs_until_a_newer_file_comes(site: Site) -> None:
    first, second = site.update("1.1.0", 1), site.update("1.2.0", 2)
    later = NOW + timedelta(days=8)
    site.agent._clock.signed(later.timestamp())
    assert site.bring("1.1.0", first) == "expired", "on a device that knows nothing yet"
    assert site.bring("1.1.0", site.update("1.1.0", 1, now=later)) == ""
    site.agent._clock.signed((later + timedelta(days=8)).timestamp())
    assert site.bring("1.2.0", second) == "expired", "and on one that does"
    assert site.wanted == 1
    assert site.agent._metadata is not None
    assert "nothing new is installed" in site.agent._metadata.problem()
    assert site.bring("1.2.0", site.update("1.2.0", 2, now=later + timedelta(days=9))) == ""
    assert site.agent._metadata.problem() == ""


def test_older_files_stay_old(site: Site) -> None:
    """An older chain is passed over for the newer one that is known: what was withdrawn since stays withdrawn."""
    old = site.update("1.1.0", 5)
    assert site.bring("1.2.0", site.update("1.2.0", 2)) == ""
    assert site.bring("1.1.0", site.update("1.1.0", 1)) == "rollback"
    site.office.withdraw(["model/eye@1.1.0"], NOW)
    assert site.bring("1.3.0", site.update("1.3.0", 3)) == ""
    assert site.bring("1.1.0", old) == "withdrawn"
    assert site.wanted == 3


def test_without_a_root_nothing_is_taken(tmp_path: Path) -> None:
    site = Site(tmp_path).start(root=b"")
    assert site.bring("1.1.0", site.update("1.1.0", 1)) == "root"
    site.stop()


def test_a_file_of_another_form_is_no_signed_file(site: Site) -> None:
    inbox = site.agent.store.root / "inbox"
    path = b'{"desired":"","format":"ace.update/v1","metadata":{"../x.json":"{}"}}'
    for name, data in (("plain", None), ("list", b"[]"), ("path", path)):
        packed(site.folder / "manifests").save(inbox / f"{name}.ace", data)
        for _ in range(2):
            site.agent._inbox.look()
        assert site.said[-1].startswith(f"refused: {name}.ace: "), site.said
