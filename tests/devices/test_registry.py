from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import devices
from devices import registry
from devices.engine import EngineError


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a distribution with this code and these entry points (lines of entry_points.txt)."""

    def install(code: str, entries: str) -> None:
        (tmp_path / "odd_plugin.py").write_text(code)
        info = tmp_path / "odd_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)
        monkeypatch.syspath_prepend(str(tmp_path))
        registry.refresh()

    yield install
    sys.modules.pop("odd_plugin", None)
    monkeypatch.undo()
    registry.refresh()


ENGINE = """
class Odd:
    name, device, precisions = {name!r}, {device!r}, ()
    def missing(self): return None
    def lacks(self, path): return ()
    def load(self, model, *, threads, precision="auto"): ...
"""


def test_built_in() -> None:
    (cpu,) = [status for status in devices.available() if status.name == "cpu"]
    assert (cpu.kind, cpu.domain, cpu.emulated, cpu.missing) == ("cpu", "cpu", False, None)
    assert [(engine.name, engine.missing) for engine in cpu.engines if engine.name == "onnxruntime"] == [("onnxruntime", None)]
    assert cpu.cores >= 1


def test_fake_device_is_found(fake_device: Path) -> None:
    (fake,) = [status for status in devices.available() if status.name == "fake"]
    assert (fake.domain, fake.emulated, [engine.name for engine in fake.engines]) == ("fake", True, ["fake"])
    assert registry.device_of("fake").name == "fake"
    assert devices.broken() == ()


def test_fake_device_is_found_by_other_processes(fake_device: Path) -> None:
    code = "import devices; print([status.name for status in devices.available()])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(devices.__file__).parents[1])
    assert done.stdout.strip() == "['cpu', 'vpu', 'fake']"


def test_fake_device_is_gone_afterwards() -> None:
    assert "fake" not in registry.devices()


def test_third_party_engine_of_the_cpu(plugin) -> None:
    plugin(ENGINE.format(name="odd", device="cpu"), "[ace.engines]\nodd = odd_plugin:Odd\n")
    assert list(registry.engines("cpu"))[-1] == "odd"
    assert registry.engine("odd").name == "odd"


@pytest.mark.parametrize(
    ("code", "group", "reason"),
    [
        ("raise RuntimeError('no such chip')", "ace.engines", "RuntimeError: no such chip"),
        ("import no_such_library", "ace.devices", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("class Odd:\n    def __init__(self): raise OSError('busy')", "ace.devices", "OSError: busy"),
        ("Other = 1", "ace.engines", "has no attribute 'Odd'"),
        ("class Odd:\n    name = device = 'cpu'", "ace.engines", "without lacks, load, missing, precisions"),
        ("Odd = 5", "ace.devices", "without cores, domain"),
        (ENGINE.format(name="onnxruntime", device="cpu"), "ace.engines", "'onnxruntime', which is taken"),
        (ENGINE.format(name="auto", device="cpu"), "ace.engines", "'auto', which is taken"),
        (ENGINE.format(name="odd", device="tpu"), "ace.engines", "device 'tpu'"),
        (ENGINE.format(name=7, device="cpu"), "ace.engines", "expected a name that is text, got 7"),
    ],
)
def test_broken_plugins_are_reported(plugin, code: str, group: str, reason: str) -> None:
    plugin(code, f"[{group}]\nodd = odd_plugin:Odd\n")
    assert "onnxruntime" in registry.engines("cpu")
    (broken,) = devices.broken()
    assert (broken.group, broken.name) == (group, "odd")
    assert reason in broken.reason


def test_memory_domains_are_not_shared(plugin, fake_device: Path) -> None:
    plugin(
        "from ace_fake_device import FakeDevice\nclass Odd(FakeDevice):\n    name = 'odd'",
        "[ace.devices]\nodd = odd_plugin:Odd\n",
    )
    assert "memory domain of its own" in devices.broken()[0].reason


def test_engine_that_fails_when_asked(plugin) -> None:
    plugin(ENGINE.format(name="odd", device="cpu").replace("return None", "1 / 0"), "[ace.engines]\nodd = odd_plugin:Odd\n")
    (odd,) = [engine for engine in devices.available()[0].engines if engine.name == "odd"]
    assert odd.missing == "asking it failed: ZeroDivisionError: division by zero"


def test_unknown_names() -> None:
    with pytest.raises(EngineError, match=r"engine: expected one of .*onnxruntime.*, got 'onnxruntim'; did you mean 'onnxruntime'\?"):
        registry.engine("onnxruntim")
    with pytest.raises(EngineError, match="device: expected one of cpu, vpu, got 'moon'; `ace devices` lists"):
        registry.device("moon")
    with pytest.raises(EngineError, match="memory domain"):
        registry.device_of("moon")
