from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import devices
from devices import prepare, registry
from devices.engine import Engine, EngineError, ModelInfo, Session
from devices.engines.vpu import ENGINE
from devices.model import inspect
from devices.vpu import programs
from devices.vpu.compiler import compile_model
from devices.vpu.machine import Machine, declared
from devices.vpu.program import pack
from tests.devices.vpu.interpreter import Interpreter
from tests.devices.vpu.network import save_network

LOCAL = Machine().local_bytes


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and programs compiled in this process."""
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "cache"))

    def compiled(model: ModelInfo, local_bytes: int, say: Callable[[str], None]) -> bytes:
        say(f"compiling {model.name}")
        return pack(compile_model(model.path, dict(model.dims), local_bytes, model.digest))

    monkeypatch.setattr(programs, "_compiled", compiled)


@pytest.fixture
def model(tmp_path: Path) -> ModelInfo:
    return inspect(save_network(tmp_path / "net.onnx")).as_model()


@pytest.fixture
def loaded(model: ModelInfo) -> Session:
    return ENGINE.load(model, threads=1)


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 8, 8)).astype(np.float32)


def test_it_keeps_the_contracts(loaded: Session) -> None:
    assert isinstance(ENGINE, Engine)
    assert isinstance(loaded, Session)
    assert ENGINE.missing() is None
    assert (list(loaded.inputs), list(loaded.outputs)) == (["pixels"], ["out"])


def test_the_device_is_listed_as_an_emulation() -> None:
    (vpu,) = [status for status in devices.available() if status.name == "vpu"]
    assert (vpu.kind, vpu.domain, vpu.emulated, vpu.missing) == ("vpu", "vpu", True, None)
    assert vpu.declared == "512 KiB local, 64 GMAC/s, 4000 MB/s"
    assert [(engine.name, engine.precisions, engine.missing) for engine in vpu.engines] == [("vpu", ("fixed",), None)]
    assert (registry.titled("vpu"), registry.titled("cpu"), registry.titled("moon")) == ("vpu (emulated)", "cpu", "moon")


def test_results_are_those_of_python_integers(loaded: Session, model: ModelInfo) -> None:
    """Bytes in, bytes out by the machine over Python integers; floats by the border's scales."""
    content = programs.ensure(model, LOCAL).read_bytes()
    stored = np.clip(np.rint(pixels() / np.float32(0.02)) + 128, 0, 255).astype(np.uint8)
    (made,) = Interpreter(content).run([stored.tobytes()])
    expected = (np.frombuffer(made, np.uint8).astype(np.float32) - 110) * np.float32(0.02)
    got = loaded.run({"pixels": pixels()})["out"]
    assert np.array_equal(got, expected.reshape(1, 3))


def test_run_into_given_memory(loaded: Session) -> None:
    expected, given = loaded.run({"pixels": pixels()})["out"].copy(), np.zeros((1, 3), np.float32)
    assert loaded.run({"pixels": pixels()}, {"out": given})["out"] is given
    assert np.array_equal(given, expected)
    assert np.array_equal(loaded.run({"pixels": np.asfortranarray(pixels())})["out"], expected)


def test_floats_beyond_the_range(loaded: Session) -> None:
    """Saturated as `Quantize` does; what is no number is the lowest."""
    wild = pixels()
    wild[0, 0, 0, :4] = np.nan, np.inf, -np.inf, 1e30
    tame = pixels()
    tame[0, 0, 0, :4] = -99, 99, -99, 99
    assert np.array_equal(loaded.run({"pixels": wild})["out"].copy(), loaded.run({"pixels": tame})["out"])


def test_bytes_at_the_border_stay_bytes(save_model: Callable[..., Path]) -> None:
    """int8 in, uint8 out: nothing is converted."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]), helper.make_node("MaxPool", ["d"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("QuantizeLinear", ["p", "s", "z"], ["y"]),
    ]  # fmt: skip
    path = save_model(
        nodes, [("x", "int8", (1, 1, 2, 3))], [("y", "int8", (1, 1, 1, 2))], {"s": np.float32(0.5), "z": np.int8(3)}
    )  # fmt: skip
    session = ENGINE.load(inspect(path).as_model(), threads=1)
    x = np.array([[-128, 5, 127], [0, -7, 3]], np.int8).reshape(1, 1, 2, 3)
    assert session.run({"x": x})["y"].reshape(-1).tolist() == [5, 127]


def test_arrays_that_do_not_fit(loaded: Session) -> None:
    with pytest.raises(EngineError, match="did you mean 'pixels' for 'pixel'"):
        loaded.run({"pixel": pixels()})
    with pytest.raises(EngineError, match=r"input 'pixels': expected .*use \.astype"):
        loaded.run({"pixels": pixels().astype(np.float64)})
    with pytest.raises(EngineError, match="output 'out': expected"):
        loaded.run({"pixels": pixels()}, {"out": np.zeros((3, 1), np.float32)})
    with pytest.raises(EngineError, match="contiguous memory"):
        loaded.run({"pixels": pixels()}, {"out": np.zeros((1, 6), np.float32)[:, ::2]})
    loaded.close()
    with pytest.raises(EngineError, match="closed"):
        loaded.run({"pixels": pixels()})


def test_settings_that_it_has_not(model: ModelInfo) -> None:
    with pytest.raises(EngineError, match="precision: expected auto or fixed, got 'fix'; did you mean 'fixed'"):
        ENGINE.load(model, threads=1, precision="fix")
    with pytest.raises(EngineError, match="threads"):
        ENGINE.load(model, threads=0)
    with pytest.raises(EngineError, match="export the model again"):
        ENGINE.load(replace(model, outputs=()), threads=1)


def test_a_declaration_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, model: ModelInfo) -> None:
    monkeypatch.setenv("ACE_VPU", "gmac=4")
    assert "did you mean 'gmacs'" in str(ENGINE.missing())
    assert "did you mean 'gmacs'" in str(registry.device("vpu").missing())
    assert [status.declared for status in devices.available() if status.name == "vpu"] == [""]
    with pytest.raises(EngineError, match="did you mean 'gmacs'"):
        devices.load(model, engine="vpu")


def test_each_local_memory_has_its_program(monkeypatch: pytest.MonkeyPatch, model: ModelInfo, loaded: Session) -> None:
    monkeypatch.setenv("ACE_VPU", "local_kib=16,gmacs=1")
    small = ENGINE.load(model, threads=1)
    assert programs.ensure(model, declared().local_bytes) != programs.ensure(model, LOCAL)
    assert np.array_equal(small.run({"pixels": pixels()})["out"], loaded.run({"pixels": pixels()})["out"])
    assert small.nanoseconds > loaded.nanoseconds


def test_a_damaged_program_is_made_again(model: ModelInfo) -> None:
    path = programs.ensure(model, LOCAL)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\0\0")
    said: list[str] = []
    programs.load(model, LOCAL, said.append)
    assert "set aside" in said[0]
    assert path.read_bytes() == whole
    assert path.with_suffix(".damaged").is_file()


def test_preparing_makes_it_ahead(model: ModelInfo, own_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "cache" / "kernels").symlink_to((own_cache / "kernels").resolve())
    first, again = (prepare.ready([], vpu=[model])[-1] for _ in range(2))
    assert (first.what, first.made, again.made) == ("vpu program of net", True, False)
    assert first.path == programs.ensure(model, LOCAL)


def test_a_process_of_its_own_compiles(tmp_path: Path) -> None:
    """Whoever loads a program that is there imports no compiler."""
    path = save_network(tmp_path / "net.onnx")
    whole = save_network(tmp_path / "soft.onnx", softmax=True)
    code = (
        "import sys; from pathlib import Path; import devices; from devices.model import inspect\n"
        "from devices.engines.vpu import ENGINE\n"
        f"model = inspect({str(path)!r}).as_model(); ENGINE.load(model, threads=1)\n"
        "heavy = ('devices.vpu.compiler', 'devices.native.passes', 'onnxruntime', 'numba')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])\n"
        f"try: ENGINE.load(inspect({str(whole)!r}).as_model(), threads=1)\n"
        "except devices.EngineError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(devices.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    loaded, refused = done.stdout.splitlines()
    assert loaded == "[]"
    assert refused.endswith("it cannot run Softmax over float32 (node 'last')")


def test_a_measurement_says_that_it_is_of_an_emulation(model: ModelInfo) -> None:
    ours, other = devices.bench_model(model.path, ["vpu", "onnxruntime"], runs=2)
    assert (ours["engine"], ours["emulated"], other["emulated"]) == ("vpu", True, False)
