"""A repository without offline keys takes the next root from whoever brings it, as far as the keys of the one before say so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from manifests.sync.trust import Untrusted
from manifests.trust import keys
from manifests.trust.repository import Repository
from manifests.trust.roots import MOST_BYTES
from manifests.trust.store import TrustStore, folder_fetch

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def offline(tmp_path: Path) -> Repository:
    """Three root keys, of which two must sign."""
    return Repository.create(tmp_path / "offline", NOW, root_keys=3, threshold=2)


@pytest.fixture
def online(tmp_path: Path, offline: Repository) -> Repository:
    """The cloud's, as it was given to it."""
    shutil.copytree(offline.folder, tmp_path / "online", ignore=shutil.ignore_patterns("offline"))
    return Repository(tmp_path / "online")


def code(call: Callable[[], object]) -> str:
    with pytest.raises(Untrusted) as refused:
        call()
    assert str(refused.value)
    return refused.value.code


def device(repository: Repository, folder: Path, now: datetime = NOW) -> int:
    """The root that a device comes to that knows the first one alone."""
    store = TrustStore(folder, repository.first_root())
    store.refresh(folder_fetch(repository.metadata), now)
    return int(Metadata.from_file(str(folder / "root.json")).signed.version)


def made(offline: Repository, signers: tuple[int, ...] = (1, 2), **changes: Any) -> bytes:
    """The second root, changed, and signed by these keys."""
    root = offline.root()
    root.signed.version = 2
    for name, value in changes.items():
        setattr(root.signed, name, value)
    return Repository._sign(root, [keys.load(offline.folder / "offline" / f"root-{number}.pem") for number in signers])


def test_roots_follow_one_another(offline: Repository, online: Repository, tmp_path: Path) -> None:
    later = NOW + timedelta(days=2)
    for _ in range(2):
        offline.renew(later)
    assert online.accept_roots(offline.roots_after(1), later) == 3
    assert online.versions() == {"root": 3, "targets": 1}
    assert device(online, tmp_path / "device", later) == 3
    assert [online.roots_after(number) for number in (1, 3)] == [offline.roots_after(1), []]


def test_what_does_not_follow_is_refused_and_leaves_nothing(offline: Repository, online: Repository, tmp_path: Path) -> None:
    stranger = Repository.create(tmp_path / "stranger", NOW)
    stranger.renew(NOW)
    first = offline.first_root()
    good = made(offline)
    refused = [
        ([], "metadata"),
        ([b""], "metadata"),
        ([b"[" * 100_000], "metadata"),
        ([offline.newest_targets().read_bytes()], "metadata"),
        ([b" " * (MOST_BYTES + 1)], "endless"),
        ([first], "rollback"),
        ([good, good], "rollback"),
        ([made(offline, version=3)], "rollback"),
        ([made(offline, signers=(1,))], "signature"),
        ([made(offline, signers=(3, 3))], "signature"),
        ([stranger.roots_after(1)[0]], "signature"),
        ([good.replace(b'"consistent_snapshot":true', b'"consistent_snapshot":false')], "signature"),
        ([made(offline, consistent_snapshot=False)], "metadata"),
        ([made(offline, expires=NOW - timedelta(days=1))], "expired"),
    ]
    before = sorted(path.name for path in online.metadata.iterdir())
    for roots, why in refused:
        assert code(lambda roots=roots: online.accept_roots(roots, NOW)) == why, (roots, why)  # type: ignore[misc]
    assert sorted(path.name for path in online.metadata.iterdir()) == before
    assert device(online, tmp_path / "device") == 1
    assert online.accept_roots([good], NOW) == 2


def test_a_root_must_be_signed_by_its_own_keys_too(offline: Repository, online: Repository) -> None:
    """A threshold that nobody reaches would be the last root ever."""
    root = offline.root()
    root.signed.version = 2
    root.signed.roles["root"].threshold = 3
    signers = [keys.load(offline.folder / "offline" / f"root-{number}.pem") for number in (1, 2, 3)]
    assert code(lambda: online.accept_roots([Repository._sign(root, signers[:2])], NOW)) == "signature"
    assert online.accept_roots([Repository._sign(root, signers)], NOW) == 2


def test_one_that_expired_may_lie_on_the_way(offline: Repository, online: Repository, tmp_path: Path) -> None:
    offline.renew(NOW)
    later = NOW + timedelta(days=366)
    assert code(lambda: online.accept_roots(offline.roots_after(1), later)) == "expired"
    offline.renew(later)
    assert online.accept_roots(offline.roots_after(1), later) == 3


def test_new_online_keys_come_before_their_root(offline: Repository, online: Repository, tmp_path: Path) -> None:
    """A root whose keys this repository does not have would be the last thing that devices take from it."""
    offline.renew(NOW, replace_online=True)
    roots = offline.roots_after(1)
    with pytest.raises(Untrusted, match="online/next"):
        online.accept_roots(roots, NOW)
    assert device(online, tmp_path / "before") == 1
    following = online.folder / "online" / "next"
    following.mkdir()
    for role in ("snapshot", "timestamp"):
        shutil.copy(offline.folder / "online" / f"{role}.pem", following)
    online.freshen(NOW, always=True)
    assert device(online, tmp_path / "between") == 1, "the keys of the root that counts sign until then"
    assert online.accept_roots(roots, NOW) == 2
    assert not list(following.iterdir())
    online.freshen(NOW, always=True)
    assert device(online, tmp_path / "after") == 2


def test_a_cut_between_a_root_and_its_keys_is_made_good(offline: Repository, online: Repository, tmp_path: Path) -> None:
    offline.renew(NOW, replace_online=True)
    following = online.folder / "online" / "next"
    shutil.copytree(offline.folder / "online", following)
    (online.metadata / "2.root.json").write_bytes(offline.roots_after(1)[0])
    online.freshen(NOW, always=True)
    assert device(online, tmp_path / "device") == 2


def test_targets_that_are_served_must_stay_good(offline: Repository, online: Repository) -> None:
    root = offline.root()
    new = keys.create(offline.folder / "offline" / "targets-2.pem")
    old = root.signed.roles["targets"].keyids[0]
    root.signed.version = 2
    root.signed.add_key(new.public_key, "targets")
    signers = [keys.load(offline.folder / "offline" / f"root-{number}.pem") for number in (1, 2)]
    both = Repository._sign(root, signers)
    root.signed.version = 3
    root.signed.revoke_key(old, "targets")
    alone = Repository._sign(root, signers)
    with pytest.raises(Untrusted, match="let one root name old and new keys"):
        online.accept_roots([both, alone], NOW)
    assert online.accept_roots([both], NOW) == 2
    targets = Metadata.from_bytes(offline.newest_targets().read_bytes())
    targets.signed.version += 1
    assert online.accept_targets(Repository._sign(targets, [new]), NOW) == 2
    assert online.accept_roots([alone], NOW) == 3
