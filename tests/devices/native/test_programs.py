"""Program files: made once, in one step, set aside when damaged; a worker needs no compiler to run one, and shares its weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from devices.engine import EngineError, ModelInfo
from devices.kernels import KernelError, cache
from devices.model import inspect
from devices.native import image, programs
from devices.native.isa import ISAS
from devices.native.kernels import ensure

Made = Callable[[ModelInfo, object], bytes]


@pytest.fixture
def model(scale_model: Path) -> ModelInfo:
    return inspect(scale_model).as_model()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path) -> Path:
    """A cache that has kernels only."""
    fresh = tmp_path / "cache"
    fresh.mkdir(mode=0o700)
    (fresh / "kernels").symlink_to((own_cache / "kernels").resolve())
    monkeypatch.setenv("ACE_CACHE", str(fresh))
    return fresh / "programs"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compiles in this process; what was compiled so far."""
    from devices.native.assemble import assemble
    from devices.native.compiler import compile_model
    from devices.native.isa import best

    done: list[str] = []

    def here(model: ModelInfo, say: object) -> bytes:
        done.append(model.name)
        return assemble(compile_model(model.path, dict(model.dims), model.digest), best())

    monkeypatch.setattr(programs, "_compiled", here)
    return done


def test_made_once(model: ModelInfo, folder: Path, compiled: list[str]) -> None:
    assert programs.find(model) is None
    path = programs.ensure(model)
    assert (path.parent, path.stat().st_mode & 0o777) == (folder, 0o600)
    assert programs.ensure(model) == programs.find(model) == path
    assert compiled == ["model"]
    assert [each.name for each in folder.iterdir() if each.name != "lock"] == [path.name]


def test_made_apart(model: ModelInfo, folder: Path) -> None:
    said: list[str] = []
    program = programs.load(model, said.append)
    assert said == ["compiling model.onnx for native (once; some seconds)"]
    assert program.inputs[0].shape == (1, 3, 4, 6)


def test_a_model_that_the_compiler_will_not_have(save_model: Callable[..., Path], folder: Path) -> None:
    path = save_model([helper.make_node("NonZero", ["x"], ["y"])], [("x", "float32", (1, 3))], [("y", "int64", (2, 3))])
    with pytest.raises(EngineError, match=r"model.onnx: the engine lacks NonZero"):
        programs.ensure(inspect(path).as_model())
    assert not list(folder.glob("*.program"))


def test_a_model_that_was_replaced(model: ModelInfo, folder: Path) -> None:
    with pytest.raises(EngineError, match="expected the model with digest"):
        programs.ensure(replace(model, digest="0" * 64))


@pytest.mark.parametrize(
    "other",
    [
        lambda model, patch: replace(model, digest="0" * 64),
        lambda model, patch: replace(model, dims=(("n", 2),)),
        lambda model, patch: patch.setattr(programs, "sources", lambda: b"edited") or model,
        lambda model, patch: patch.setattr(programs, "versions", lambda: ("numpy 99",)) or model,
        lambda model, patch: patch.setattr(programs, "best", lambda: ISAS["portable"]) or model,
        lambda model, patch: patch.setattr(programs, "entry", lambda isa: "other kernels") or model,
    ],
    ids=["digest", "dims", "compiler", "libraries", "isa", "kernels"],
)
def test_the_key_covers_all_that_decides(other: Callable[..., ModelInfo], model: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    before = programs.key(model)
    assert before == programs.key(replace(model, name="other", version="2.0.0", path=Path("elsewhere.onnx")))
    assert programs.key(other(model, monkeypatch)) != before


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-400] + b"\xff" + data[-399:], lambda data: b""])
def test_a_damaged_file_is_set_aside_and_made_again(
    damage: Callable[[bytes], bytes], model: ModelInfo, folder: Path, compiled: list[str]
) -> None:
    path = programs.ensure(model)
    whole = path.read_bytes()
    bad = damage(whole)
    assert bad != whole
    path.write_bytes(bad)
    said: list[str] = []
    assert programs.load(model, said.append).variants
    assert "set aside" in said[0]
    assert path.read_bytes() == whole
    assert path.with_suffix(".damaged").read_bytes() == bad
    assert len(compiled) == 2


def test_a_write_that_fails_leaves_nothing(model: ModelInfo, folder: Path, compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KernelError, match="No space left on device; free some space"):
        programs.ensure(model)
    assert [each.name for each in folder.iterdir()] == ["lock"]


def test_old_files_make_way(model: ModelInfo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "KEPT", 3)
    for number in range(5):
        path = programs.install(f"{number}.program", b"")
        os.utime(path, (number, number))
    assert sorted(each.name for each in folder.glob("*.program")) == ["2.program", "3.program", "4.program"]


def test_a_folder_of_somebody_else_is_refused(model: ModelInfo, folder: Path) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(KernelError, match="chmod go-w"):
        programs.load(model)


WORKER = """
import json, sys
from pathlib import Path
import numpy as np
from devices import session
from devices.engine import ModelInfo
from devices.spec import TensorSpec
told = json.loads(sys.argv[1])
signature = [tuple((name, TensorSpec(spec["dtype"], tuple(spec["shape"]))) for name, spec in told[role]) for role in ("inputs", "outputs")]
model = ModelInfo(told["name"], "", Path(told["path"]), told["digest"], *signature)
loaded = session.load(model, "native")
result = loaded.run({"x": np.ones((1, 3, 4, 6), np.float32)})["y"]
maps = [line.split() for line in open("/proc/self/maps") if ".program" in line]
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"modules": modules, "y": float(result.sum()), "rights": [fields[1] for fields in maps]}))
"""


def test_a_worker_runs_it_without_compiler_or_importer_and_shares_its_memory(model: ModelInfo, folder: Path, compiled: list[str]) -> None:
    ensure()
    programs.ensure(model)
    order = json.dumps(asdict(model) | {"path": str(model.path)})
    done = subprocess.run([sys.executable, "-c", WORKER, order], capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(done.stdout)
    assert not {"onnx", "numba", "llvmlite", "onnxruntime", "pydantic", "yaml", "cv2"} & set(told["modules"])
    assert told["y"] == 3 * 72
    assert told["rights"] == ["r--s"]


def test_a_program_of_other_kernels_is_not_run(model: ModelInfo, compiled: list[str], folder: Path) -> None:
    from devices.native.kernels import library
    from devices.native.machine import Machine

    ensure()
    program = replace(programs.load(model), isa="avx9000")
    with pytest.raises(KernelError, match="as the program was made for"):
        Machine(program, library())


def test_the_cache_is_not_part_of_the_image(model: ModelInfo, compiled: list[str], folder: Path) -> None:
    """The same model gives the same bytes."""
    first = programs.ensure(model).read_bytes()
    programs.ensure(model).unlink()
    assert programs.ensure(model).read_bytes() == first
    assert isinstance(image.image(first).data, np.ndarray)
    assert cache.root() == folder.parent
