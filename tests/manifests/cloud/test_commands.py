"""The commands, as a person types them, against a server of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flow.cli.app import app

from .fleet import pack_all

COMMAND = [sys.executable, "-c", "from flow.cli import main; main()"]
Ace = Callable[..., Result]


@pytest.fixture
def ace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ace]:
    """Runs a command against a cloud that has a bundle signed and uploaded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACE_T")}
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, token: str = "", status: int = 0) -> Result:
        told = {"ACE_CLOUD": environment.get("ACE_CLOUD"), "ACE_TOKEN": token or environment.get("ACE_TOKEN")}
        done = CliRunner().invoke(app, arguments, env=told)
        assert done.exit_code == status, done.output
        return done

    bundle = pack_all(tmp_path)
    run("trust", "init", "trust", "--root-keys", "3", "--threshold", "2")
    assert "signed model/detector@2.0.0" in run("trust", "add", "trust", str(bundle)).stdout
    server = subprocess.Popen(
        [*COMMAND, "cloud", "--trust", "trust", "--listen", "tcp://127.0.0.1:*", "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        said = [server.stdout.readline() for _ in range(3)]
        environment["ACE_CLOUD"] = said[1].split()[1]
        environment["ACE_TOKEN"] = said[2].split()[-1]
        run("fleet", "upload", str(bundle))
        yield run
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(30)
        server.stdout.close()
    assert status == 0


def test_people_and_devices_by_command(ace: Ace) -> None:
    assert "model/detector@1.1.0  yes" in ace("fleet", "items").stdout
    token = ace("fleet", "person", "vera", "viewer").stdout.split()[-1]
    refused = ace("fleet", "invite", "kitchen", token=token, status=1)
    assert refused.stderr == "vera is viewer: expected operator or more; ask somebody who is\n"
    assert "token, shown this once: " in ace("fleet", "invite", "kitchen").stdout
    assert ace("fleet", "dismiss", "vera").stdout == "vera: revoked\n"
    newest = ace("fleet", "audit", "--limit", "2").stdout.splitlines()
    assert [line.split()[3:6] for line in newest[1:]] == [["admin", "person.revoke", "vera"], ["admin", "device.invite", "kitchen"]]
    assert ace("fleet", "resets").stdout.startswith("number  asked for by")
    assert ace("fleet", "history", "kitchen", status=2).stderr.startswith("there is no device 'kitchen'")
    assert ace("query", "kitchen", status=2).stderr.startswith("there is no device 'kitchen'")
    assert "expected a valid token" in ace("fleet", "list", token="wrong", status=1).stderr
    assert ace("reset", "kitchen", status=2).stderr.count("expected --reason TEXT")
    assert "there is no rollout 7" in ace("rollout", "show", "7", status=2).stderr
    withdrawn = ace("trust", "withdraw", "trust", "model/detector@2.0.0").stdout
    assert withdrawn == "targets 3\n"
    assert ace("trust", "publish", "trust").stdout == "the cloud has root 1 and targets 3 already\n"
    assert "no such" not in ace("fleet", "items").stdout
