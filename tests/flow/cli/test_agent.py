"""What `ace agent` says when it cannot begin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flow.cli.app import app
from manifests.bundle.pack import pack
from manifests.store.store import Store
from manifests.sync.agent.membership import Membership, write

Ask = Callable[..., Result]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """`ace agent` with a store in a folder of its own."""
    return lambda *arguments: CliRunner().invoke(app, ["agent", "--store", str(tmp_path / "store"), *arguments])


def bundle(folder: Path, version: str) -> Path:
    place = folder / version
    place.mkdir()
    (place / "one.yaml").write_text(
        f"apiVersion: ace/v1\nkind: Business\nname: motion\nversion: {version}\ninputs: {{camera: image}}\n"
        "graph: {moving: {op: motion.background, in: {image: camera}}}\noutputs: {moving: moving}\n"
    )
    path = folder / f"{version}.ace"
    pack(place).save(path)
    return path


def refused(result: Result, message: str) -> None:
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_store_that_is_in_use(ask: Ask, tmp_path: Path) -> None:
    with Store(tmp_path / "store"):
        refused(ask(), "expected a store that no other process has open, got one in use; stop the other agent")


def test_another_factory_than_the_store_was_made_with(ask: Ask, tmp_path: Path) -> None:
    one, two = bundle(tmp_path, "1.0.0"), bundle(tmp_path, "2.0.0")
    with Store(tmp_path / "other"):
        pass
    refused(ask("--store", str(tmp_path / "other"), "--factory", str(one)), "expected a place without a store, got one")
    from manifests.store.store import install_factory

    install_factory(tmp_path / "store", one)
    refused(ask("--factory", str(two)), "leave --factory out, or begin another store")


def test_a_factory_that_is_no_bundle(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "no.ace"
    path.write_bytes(b"no bundle")
    refused(ask("--factory", str(path)), "no.ace: expected")


def test_files_of_an_invitation(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "porch.join"
    path.write_text("{}")
    path.chmod(0o644)
    refused(ask("--join", str(path)), f"(chmod 600 {path})")
    path.chmod(0o600)
    refused(ask("--join", str(path)), "endpoint: Field required; make it with `ace fleet invite NAME --join FILE`")
    refused(ask("--token", "x" * 20), "expected --join FILE")
    member = Membership(endpoint="tcp://cloud:8481", key="ab" * 32, http="https://cloud", root="{}")
    (tmp_path / "store" / "keys").mkdir(parents=True, exist_ok=True)
    write(tmp_path / "store" / "keys" / "cloud.json", member)
    write(path, member.model_copy(update={"key": "cd" * 32}))
    refused(ask("--join", str(path)), "expected the cloud that this device belongs to (key abababababab), got another one")


def test_roots_of_trust(ask: Ask, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from manifests.trust.repository import Repository

    repository = Repository.create(tmp_path / "trust", datetime.now(UTC))
    path = tmp_path / "root.json"
    path.write_text("no root")
    refused(ask("--root", str(path)), f"{path}: expected root metadata (1.root.json of `ace trust init`), got: ")
    refused(ask("--root", str(repository.newest_targets())), "got: metadata of targets")
    path.write_bytes(repository.first_root().replace(b'"version":1', b'"version":2'))
    refused(ask("--root", str(path)), "expected root metadata")
    (tmp_path / "store" / "keys").mkdir(parents=True, exist_ok=True)
    write(tmp_path / "store" / "keys" / "cloud.json", Membership(endpoint="tcp://c:1", key="ab" * 32, http="https://c", root="{}"))
    refused(ask("--root", str(path)), "expected the root of the device's cloud, got another one")


def test_a_folder_that_others_may_enter_and_a_path_that_is_too_long(ask: Ask, tmp_path: Path) -> None:
    run = tmp_path / "store" / "run"
    run.mkdir(parents=True, mode=0o755)
    run.chmod(0o755)
    refused(ask(), f"expected a folder of our own with mode 0700 (chmod 700 {run})")
    refused(ask("--store", str(tmp_path / ("x" * 100))), "choose another --store")


def test_the_file_of_an_invitation_is_kept_and_moved(tmp_path: Path) -> None:
    from manifests.sync.agent.membership import joined, reachable, read

    store, given = tmp_path / "store", tmp_path / "porch.join"
    assert joined(store, None) is None
    member = Membership(endpoint="tcp://one:8481", key="ab" * 32, http="https://one", root="{}", token="t" * 20)
    write(given, member)
    assert joined(store, given) == joined(store, None) == member
    kept = store / "keys" / "cloud.json"
    write(kept, member.model_copy(update={"token": ""}))
    write(given, member.model_copy(update={"endpoint": "tcp://two:8481"}))
    moved = joined(store, given)
    assert moved is not None
    assert (moved.endpoint, moved.token) == ("tcp://two:8481", ""), "a device that is let in asks no more"
    assert read(kept) == moved
    assert reachable("tcp://0.0.0.0:8481", "https://cloud.example:8480") == "tcp://cloud.example:8481"
    assert reachable("tcp://127.0.0.1:9", "https://cloud.example") == "tcp://127.0.0.1:9"
