"""What a signed file must carry to be taken: the trust of the repository, as online, and each attack on it with its reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from manifests.store.reset import request_reset
from manifests.sync.offline import Update
from manifests.trust.envelope import OFFLINE
from manifests.trust.repository import Repository
from tests.manifests.sync.agent.conftest import NOW, Site
from tests.manifests.sync.conftest import packed


def test_a_file_carries_all_that_a_device_needs(site: Site) -> None:
    assert site.bring("1.1.0", site.update("1.1.0", 1)) == ""
    assert site.wanted == 1
    known = site.agent._metadata
    assert known is not None
    assert known.figures() is not None
    assert site.bring("1.2.0", site.update("1.2.0", 2, now=NOW + timedelta(days=3))) == ""
    assert site.wanted == 2


@pytest.mark.parametrize(
    ("data", "expected"), [(b"", "expected"), (b"PK\x03\x04" + bytes(9000), "expected"), (None, "expected a signed file, got a bundle")]
)
def test_a_bad_file_that_it_was_started_with_is_refused_and_the_agent_goes_on(site: Site, data: bytes | None, expected: str) -> None:
    path = site.folder / "bad.ace"
    if data is None:
        packed(site.folder / "manifests").save(path)
    else:
        path.write_bytes(data)
    site.agent._offline(path)
    (said,) = [report.body for report in site.agent.updater.reports() if report.body["kind"] == "refused"]
    assert said["code"] == "bundle"
    assert said["reason"].startswith("bad.ace: ")
    assert expected in said["reason"]
    assert any("refused: bad.ace" in line for line in site.said)


def test_the_cloud_learns_that_the_disk_is_full_and_nothing_that_a_cut_would_undo(site: Site) -> None:
    agent = site.agent
    agent.store.database.detach()
    agent._refused("bundle", "in memory alone")
    agent._share()
    assert not agent._mirror.waiting(10)
    assert any("the disk is full" in problem for problem in agent._mirror.reported().problems)
    assert agent.store.database.attach()
    agent._share()
    assert len(agent._mirror.waiting(10)) == 1


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


def test_a_replaced_key_signs_files_no_more(site: Site) -> None:
    stolen = _key(site, OFFLINE)
    site.office.replace_key(OFFLINE, NOW)
    assert site.bring("1.1.0", site.update("1.1.0", 1, key=stolen)) == "signature"
    assert site.bring("1.1.0", site.update("1.1.0", 1)) == ""


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


def test_a_disk_that_is_full_keeps_the_file_for_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    agent: Any = site.agent
    path = agent.store.root / "inbox" / "stick.ace"
    packed(site.folder / "manifests", model="1.1.0", weights=b"1.1.0").save(path, site.update("1.1.0", 1).encoded())
    agent._inbox.look()
    for broken in ("manifests.trust.store.TrustStore.refresh", "manifests.store.store.Store.raise_floor"):
        with monkeypatch.context() as full:
            full.setattr(broken, raising(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                agent._inbox.look()
        assert path.exists()
    agent._inbox.look()
    assert site.wanted == 1
    assert path.exists(), "its blobs are still to be read"


def test_a_file_that_cannot_be_read_holds_up_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the files behind it, nor what comes from the cloud; and it is said once."""
    from manifests.sync.agent import inbox

    agent: Any = site.agent
    folder, read = agent.store.root / "inbox", inbox.update_of

    def broken(path: Path) -> Update:
        if path.name == "a.ace":
            raise OSError(5, "Input/output error", str(path))
        return read(path)

    monkeypatch.setattr(inbox, "update_of", broken)
    monkeypatch.setattr("manifests.sync.agent.agent.LOOK_S", 0.0)
    asked: list[bool] = []
    monkeypatch.setattr(agent, "_look_at_cloud", lambda: asked.append(True))
    (folder / "a.ace").write_bytes(b"unreadable")
    packed(site.folder / "manifests", model="1.1.0", weights=b"1.1.0").save(folder / "b.ace", site.update("1.1.0", 1).encoded())
    for _ in range(3):
        agent._turn()
    assert site.wanted == 1
    assert len(asked) == 3
    assert len([line for line in site.said if "Input/output error" in line]) == 1


def test_a_database_that_breaks_while_frames_flow_ends_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that ended would end its engine; the next start sets the database aside."""
    agent: Any = site.agent

    def broken(*_: Any) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr("manifests.sync.agent.agent.LOOK_S", 0.0)
    for call in ("rows", "value"):
        monkeypatch.setattr(agent.store.database, call, broken)
    for _ in range(3):
        agent._turn()
    assert len([line for line in site.said if "malformed" in line]) in (1, 2), "said once, wherever it is met"


def test_a_reset_by_hand_is_told(site: Site) -> None:
    agent: Any = site.agent
    agent._share()
    assert not agent._mirror.reported().hold
    request_reset(site.folder / "store", "a test")
    agent.updater.step()
    agent._share()
    assert agent._mirror.reported().hold


def test_after_a_lost_database_the_same_revision_is_taken_again(site: Site) -> None:
    update = site.update("1.1.0", 3)
    assert site.bring("1.1.0", update) == ""
    agent: Any = site.agent
    agent._share()
    assert agent._mirror.revision() == 3
    engine = agent._purpose()
    site.stop()
    agent = site.start().agent
    assert agent._purpose() == engine, "an engine that lives goes on"
    site.stop()
    (site.folder / "store" / "state.db").write_bytes(b"broken" * 500)
    agent = site.start().agent
    assert agent._purpose() != engine, "one that knows the numbers of the old database is started anew"
    agent._share()
    assert agent._mirror.revision() == 2, "so that the cloud offers it once more"
    assert site.bring("1.1.0", site.update("1.1.0", 2)) == "rollback"
    assert agent.updater.submit(update.desired.encode()), "the same, with the same number"
    agent._share()
    assert agent._mirror.revision() == 3


def raising(error: OSError) -> Callable[..., None]:
    def broken(*_: Any) -> None:
        raise error

    return broken


def test_what_a_cut_leaves_of_the_metadata_is_mended_by_the_next_file(site: Site) -> None:
    """They are a copy: whichever file of it is torn, the next signed file brings them again."""
    assert site.bring("1.1.0", site.update("1.1.0", 1)) == ""
    trust = site.agent.store.root / "trust"
    files = sorted(path for path in trust.rglob("*.json") if not path.is_symlink())
    assert len(files) > 3
    for number, path in enumerate(files, 2):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2 * (number % 2)])
        site.stop()
        site.start()
        version = f"1.{number}.0"
        assert site.bring(version, site.update(version, number)) == "", path.name
        assert site.wanted == number


@pytest.mark.parametrize("years", [-10, 10])
def test_the_system_clock_is_never_asked(site: Site, monkeypatch: pytest.MonkeyPatch, years: int) -> None:
    import time

    shift = timedelta(days=365 * years)
    present = time.time()

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(present, tz) + shift

    monkeypatch.setattr(time, "time", lambda: present + shift.total_seconds())
    monkeypatch.setattr("tuf.ngclient._internal.trusted_metadata_set.datetime.datetime", Wrong)
    assert site.bring("1.1.0", site.update("1.1.0", 1)) == ""
    late = site.update("1.2.0", 2)
    site.agent._clock.signed((NOW + timedelta(days=8)).timestamp())
    assert site.bring("1.2.0", late) == "expired"
