"""`ace pack`, `ace inspect`, `ace reset --local`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from manifests.store.generations import FACTORY
from manifests.store.store import Store, install_factory

Ace = Callable[..., "subprocess.CompletedProcess[str]"]


def test_packed_signed_and_inspected(ace: Ace, tmp_path: Path) -> None:
    assert ace("trust", "init", "trust").returncode == 0
    done = ace("pack", "motion.yaml", "-o", "m.ace", "--trust", "trust", "--revision", "3", "--for", "cam-1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("m.ace: 1 items, ")
    first = (tmp_path / "m.ace").read_bytes()
    shown = json.loads(ace("inspect", "m.ace", "--json").stdout)
    assert [each["item"] for each in shown["items"]] == ["business/motion@1.0.0"]
    assert shown["update"]["device"] == "cam-1"
    assert shown["update"]["revision"] == 3
    assert shown["update"]["metadata"] == ["2.targets.json", "3.snapshot.json", "timestamp.json"]
    assert shown["locks"][0]["cost"]["ram-bytes"] > 0
    assert f"sha256 {shown['identity']}" in ace("inspect", "m.ace").stdout
    assert ace("pack", "motion.yaml", "-o", "again.ace").returncode == 0
    assert json.loads(ace("inspect", "again.ace", "--json").stdout)["identity"] == shown["identity"]
    (tmp_path / "m.ace").write_bytes(first[:-50])
    done = ace("inspect", "m.ace")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected" in done.stderr


def test_wrong_input_is_told(ace: Ace, tmp_path: Path) -> None:
    assert ace("pack", "nothing.yaml", "-o", "m.ace").returncode == 2
    done = ace("pack", "motion.yaml", "-o", "m.ace", "--revision", "1")
    assert done.returncode == 2
    assert "--trust and --revision together" in done.stderr
    (tmp_path / "empty").mkdir()
    done = ace("pack", "motion.yaml", "-o", "m.ace", "--trust", "empty", "--revision", "1")
    assert (done.returncode, "No such file" in done.stderr) == (2, True), done.stderr


def test_reset_without_a_cloud(ace: Ace, tmp_path: Path) -> None:
    assert ace("pack", "motion.yaml", "-o", "m.ace").returncode == 0
    install_factory(tmp_path / "store", tmp_path / "m.ace")
    done = ace("reset", "--local", "--store", "store", "--reason", "moved")
    assert (done.returncode, done.stdout) == (0, "store: back to its factory state; it holds until a newer revision is approved\n")
    (tmp_path / "store" / "state.db").write_bytes(b"not a database" * 500)
    done = ace("reset", "--local", "--store", "store")
    assert done.returncode == 0, done.stderr
    assert "its database could not be read and lies at store/state.db.broken-0" in done.stdout
    with Store(tmp_path / "store") as store:
        done = ace("reset", "--local", "--store", "store")
        assert "the agent that has the store open obeys at its next step" in done.stdout
        role = store.generations.role("active")
        assert role is not None
        assert role.id == FACTORY
    done = ace("reset", "--local", "--store", "elsewhere")
    assert (done.returncode, done.stderr) == (2, "elsewhere: expected the folder of a store, got none; give the agent's --store\n")
