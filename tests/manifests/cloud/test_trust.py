"""What is signed offline is brought to a cloud that has no offline keys."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flow.cli.trust import trust
from manifests.cloud import audit, people
from manifests.cloud.errors import Forbidden, Refusal
from manifests.cloud.people import Person
from manifests.cloud.service import Cloud
from manifests.trust.repository import Repository
from manifests.trust.store import TrustStore, folder_fetch

from .fleet import ALL, served


@pytest.fixture
def offline(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "offline", datetime.now(UTC))


@pytest.fixture
def cloud(tmp_path: Path, offline: Repository) -> Iterator[Cloud]:
    """With a copy of the repository, but for its offline keys."""
    shutil.copytree(offline.folder, tmp_path / "online", ignore=shutil.ignore_patterns("offline"))
    made = Cloud(tmp_path / "cloud", tmp_path / "online", endpoint="tcp://127.0.0.1:*")
    yield made
    made.stop()


def entries(cloud: Cloud) -> list[tuple[str, str, str]]:
    with cloud.database.read() as connection:
        return [(row["person"], row["action"], row["target"]) for row in audit.entries(connection)]


def test_one_command_brings_what_is_new(tmp_path: Path, offline: Repository, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloud.database.write() as connection:
        monkeypatch.setenv("ACE_TOKEN", people.create(connection, "test", "anna", "approver"))
    device = TrustStore(tmp_path / "device", offline.first_root())
    with served(cloud) as (host, port):
        monkeypatch.setenv("ACE_CLOUD", f"http://{host}:{port}")

        def publish(status: int = 0) -> str:
            done = CliRunner().invoke(trust, ["publish", str(offline.folder)])
            assert done.exit_code == status, done.output
            return done.output

        assert publish() == "the cloud has root 1 and targets 1 already\n"
        offline.renew(datetime.now(UTC))
        offline.renew(datetime.now(UTC))
        offline.add(ALL, datetime.now(UTC))
        assert publish() == "published root 3\npublished targets 2\n"
        device.refresh(folder_fetch(cloud.repository.metadata), datetime.now(UTC))
        assert device.view().items
        assert entries(cloud)[:2] == [("anna", "trust.publish", "targets 2"), ("anna", "trust.root", "root 3")]
        offline.renew(datetime.now(UTC), replace_online=True)
        assert "put its file into online/online/next of the cloud" in publish(1)
        (offline.metadata / "4.root.json").unlink()
        (offline.metadata / "3.root.json").unlink()
        assert "expected root 3 or newer, which the cloud has, got root 2" in publish(1)


def test_a_root_that_does_not_follow_is_refused_whoever_brings_it(tmp_path: Path, offline: Repository, cloud: Cloud) -> None:
    stranger = Repository.create(tmp_path / "stranger", datetime.now(UTC))
    stranger.renew(datetime.now(UTC))
    offline.renew(datetime.now(UTC))
    with pytest.raises(Forbidden, match="olga is operator: expected approver or more"):
        cloud.publish_roots(Person("olga", "operator"), offline.roots_after(1))
    admin = Person("root", "admin")
    with pytest.raises(Refusal, match="root 2: expected the signatures of enough keys of root 1") as refused:
        cloud.publish_roots(admin, stranger.roots_after(1))
    assert refused.value.details == {"code": "signature"}
    assert (cloud.repository.versions(), entries(cloud)) == ({"root": 1, "targets": 1}, [])
    assert cloud.publish_roots(admin, offline.roots_after(1)) == 2


def test_a_next_key_that_cannot_be_used_is_a_message(offline: Repository, cloud: Cloud) -> None:
    offline.renew(datetime.now(UTC), replace_online=True)
    following = cloud.repository.folder / "online" / "next"
    following.mkdir()
    (following / "snapshot.pem").write_text("nothing")
    (following / "snapshot.pem").chmod(0o600)
    with pytest.raises(Refusal, match="expected a private key in PEM"):
        cloud.publish_roots(Person("root", "admin"), offline.roots_after(1))
    assert cloud.repository.versions()["root"] == 1
