"""What README.md tells a new user to do works, in the order in which it is read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
RUN_BY_CI = ("Try it", "Develop")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PIP = """
import sys
from importlib.metadata import PackageNotFoundError, version
from pip._internal.cli.main import main
try:
    builds_wheels = tuple(map(int, version("setuptools").split(".")[:2])) >= (70, 1)
except PackageNotFoundError:
    builds_wheels = False
sys.exit(main([*sys.argv[1:], "--no-deps", *["--no-build-isolation"] * builds_wheels]))
"""
"""Builds with the setuptools that is here, if it can, so that no package index is needed."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it shows (if any), its text."""

    language: str
    file: str
    text: str


def blocks(section: str) -> list[Block]:
    return [Block(*match.groups("")) for match in BLOCK.finditer(section)]


def sections() -> dict[str, str]:
    """heading -> text."""
    parts = re.split(r"^## (.+)$", README.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A virtual environment that sees everything installed here, so that what the README installs is gone afterwards."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    here = Path(sysconfig.get_path("purelib"))
    (tmp_path / "venv" / here.relative_to(Path(sys.prefix)) / "outer.pth").write_text(f"import site; site.addsitedir({str(here)!r})\n")
    scripts = tmp_path / "venv" / "bin"
    for name, code in (("ace", "from flow.cli import main; main()"), ("pip", PIP)):
        (scripts / name).write_text(f"#!{scripts / 'python'}\n{code}\n")
        (scripts / name).chmod(0o755)
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(tmp_path / "venv"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=150, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(600)
def test_a_new_user_gets_through(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    ran = 0
    for heading, text in sections().items():
        for block in blocks(text):
            match block:
                case _ if heading in RUN_BY_CI:
                    assert block.language == "sh"
                case Block("sh", ""):
                    run(["bash", "-e", "-o", "pipefail", "-c", block.text], folder, environment)
                    ran += 1
                case Block("python", ""):
                    assert run(["python", "-c", block.text], folder, environment)
                    ran += 1
                case Block("json", file):
                    assert_rows(block.text, folder / file)
                case Block("python", "model"):
                    run(["python", "-c", block.text], README.parent, environment)
                case Block(_, file):
                    assert file, f"a block of {heading} is neither run nor saved"
                    (folder / file).parent.mkdir(exist_ok=True)
                    (folder / file).write_text(block.text)
    assert ran == 4
    assert json.loads((folder / "report.json").read_text())["outputs"]["room"]["crossings"]["results"] == 450
    lights = [json.loads(line) for line in (folder / "light.jsonl").read_text().splitlines()]
    assert len(lights) == 50
    assert {row["classes"][0]["label"] for row in lights} == {"on"}


def assert_rows(shown: str, file: Path) -> None:
    """The rows shown are among those written; latency and digest may differ, and a pixel more or less."""
    written = {row["seq"]: row for row in map(json.loads, file.read_text().splitlines())}
    for expected in map(json.loads, shown.splitlines()):
        got = written[expected["seq"]]
        assert got.keys() == expected.keys()
        assert [each["event"] for each in got["event"]] == [each["event"] for each in expected["event"]]
        for one, other in zip(got["event"], expected["event"], strict=True):
            assert one["point"] == pytest.approx(other["point"], abs=2)


@pytest.mark.parametrize("heading", RUN_BY_CI)
def test_ci_runs_the_commands_of_this_section(heading: str) -> None:
    first = blocks(sections()[heading])[0]
    assert first.language == "sh"
    assert not first.file
    ci = (README.parent / ".ci" / "run").read_text()
    assert f'block "{heading}"' in ci


def test_the_operator_of_the_readme_is_that_of_the_docs() -> None:
    shown = next(block.text for text in sections().values() for block in blocks(text) if block.file == "light/light.py")
    assert shown in (README.parent / "docs" / "operators.md").read_text()


def test_every_command_is_in_the_table() -> None:
    from flow.cli.app import app

    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    names += [group.name for group in app.registered_groups if group.name]
    for name in names:
        assert f"| `ace {name}" in sections()["Commands"]
