"""How the house is built: imports go down only, heavy libraries wait, modules stay small."""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1]
ROOMS = ("manifests", "devices", "ops", "flow")  # each may import itself and those before it
HEAVY = (
    "numba",
    "llvmlite",
    "onnxruntime",
    "onnx",
    "cv2",
    "av",
    "lap",
    "zmq",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "uvicorn",
    "tuf",
    "securesystemslib",
    "cryptography",
    "httpx",
)
LINES = 450

MODULES = sorted(path.relative_to(HOUSE) for room in ROOMS for path in (HOUSE / room).rglob("*.py"))


def imported(source: str) -> set[str]:
    """Top-level packages that a module imports anywhere, functions and type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def loads(code: str) -> set[str]:
    """Top-level packages in memory after a fresh interpreter ran `code`."""
    script = f"{code}\nimport sys\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HOUSE)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_down_only(module: Path) -> None:
    room = module.parts[0]
    above = set(ROOMS[ROOMS.index(room) + 1 :])
    assert not imported((HOUSE / module).read_text()) & above, f"{module} imports a room above its own"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_holds_one_concept(module: Path) -> None:
    lines = len((HOUSE / module).read_text().splitlines())
    assert lines <= LINES, f"{module} has {lines} lines: it probably holds a second concept"


def test_rooms_load_no_heavy_library() -> None:
    found = loads("import flow, ops, devices, manifests") & set(HEAVY)
    assert not found


@pytest.mark.parametrize(
    "command",
    [
        "",
        "demo",
        "run",
        "validate",
        "schema",
        "plan",
        "explain",
        "prepare",
        "ops",
        "devices",
        "quantize",
        "bench",
        "bench model",
        "pack",
        "inspect",
        "agent",
        "cloud",
        "query",
        "download",
        "reload",
        "reset",
        "rollout",
        "rollout create",
        "fleet",
        "fleet invite",
        "trust",
        "trust add",
    ],
)
def test_help_loads_nothing_but_the_command_line(command: str) -> None:
    arguments = [*command.split(), "--help"]
    code = (
        f"import sys\nsys.argv = ['ace', *{arguments}]\nfrom flow.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    found = loads(code) & {*HEAVY, "numpy", "yaml", "rich", "ops", "devices", "manifests"}
    assert not found, f"ace {command} --help loads {found}"


def test_top_level_is_fixed() -> None:
    allowed = {"pyproject.toml", *ROOMS, "tests", "README.md", "LICENSE", "docs"}
    ignored = [line.strip().rstrip("/") for line in (HOUSE / ".gitignore").read_text().splitlines() if line.strip()]
    found = {
        path.name
        for path in HOUSE.iterdir()
        if not path.name.startswith(".") and not any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored)
    }
    assert found == allowed


def test_the_installed_package_holds_the_rooms_alone() -> None:
    """`tests` is not installed."""
    import tomllib

    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == [f"{room}*" for room in ("flow", "ops", "devices", "manifests")]
    assert project["project"]["scripts"] == {"ace": "flow.cli:main"}


@pytest.mark.parametrize("folder", ["flow", "ops", "devices", "manifests", "docs", "tests", ".ci", "README.md"])
def test_the_project_speaks_of_itself_alone(folder: str) -> None:
    place = HOUSE / folder
    files = (
        [place]
        if place.is_file()
        else [path for path in place.rglob("*") if path.suffix in {"", ".py", ".md", ".yaml", ".toml", ".json"} and path.is_file()]
    )
    for path in files:
        text = path.read_text()
        for word in ("/" + "work/", "TO" + "DO", "FIX" + "ME"):
            assert word not in text, f"{path.relative_to(HOUSE)} says {word}"
