"""A device without a network: signed files in its inbox, and a reset by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifests.bundle.bundle import opened
from manifests.bundle.pack import pack
from manifests.store.reset import reset_local
from manifests.trust.contents import signable
from manifests.trust.repository import Repository

from .world import Device, assert_contiguous, bundle, frames_read, wait_for


def signed(folder: Path, version: str, revision: int, office: Repository) -> Path:
    """An update file to this version of the business."""
    plain, now = bundle(folder, version, op="test.frail", config="wait_s: 0.1"), datetime.now(UTC)
    with opened(plain) as read:
        office.add(signable(read), now)
        desired = read.desired("*", revision=revision, issued=now.isoformat()).model_copy(update={"probation_s": 1.0})
    path = folder / f"update-{version}.ace"
    pack(folder / f"level-{version}").save(path, office.update(desired, now).encoded())
    return path


def test_a_stick_a_stranger_s_stick_and_a_reset(tmp_path: Path, device: Callable[..., Device]) -> None:
    office, elsewhere = (Repository.create(tmp_path / name, datetime.now(UTC)) for name in ("office", "elsewhere"))
    factory = bundle(tmp_path, "1.0.0", op="test.frail", device=True)
    stranger = signed(tmp_path, "1.2.0", 9, elsewhere)
    root = office.metadata / "1.root.json"
    porch = device(factory=factory, more=("--root", str(root), "--offline", str(stranger))).start()
    porch.wait_said(f"refused: {stranger.name}: the signed metadata were refused: ")
    porch.wait_version("1.0.0")
    inbox = porch.store / "inbox"
    (inbox / "stranger.ace").write_bytes(stranger.read_bytes())
    porch.wait_said("refused: stranger.ace: the signed metadata were refused: ")
    (inbox / "broken.ace").write_bytes(b"no bundle at all")
    porch.wait_said("refused: broken.ace: ")

    (inbox / "stick.ace").write_bytes(signed(tmp_path, "1.1.0", 1, office).read_bytes())
    porch.wait_said("update: committed")
    porch.wait_version("1.1.0")
    wait_for(lambda: not list(inbox.iterdir()), "what is done with is gone")

    assert "the agent that has the store open obeys at its next step" in reset_local(porch.store, "a test")
    porch.wait_version("1.0.0")
    porch.stop()
    rows = porch.rows()
    assert_contiguous(rows)
    assert porch.versions() == ["1.0.0", "1.1.0", "1.0.0"]
    assert frames_read(porch.said) == len(rows)


def test_without_its_cloud_a_device_runs(tmp_path: Path, device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch) -> None:
    from manifests.sync.agent.membership import Membership, write

    join = tmp_path / "porch.join"
    write(join, Membership(endpoint="tcp://127.0.0.1:9", key="ab" * 32, http="http://127.0.0.1:9", root="{}", token="never used"))
    porch = device(factory=bundle(tmp_path, "1.0.0", op="test.frail", device=True), join=join).start()
    porch.wait_version("1.0.0")
    porch.wait_said("cloud: no answer yet from tcp://127.0.0.1:9; the device goes on as it is, and tries again")
    porch.stop()
    assert_contiguous(porch.rows())
