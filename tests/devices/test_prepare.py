"""Preparing: what is covered and faster runs on native, what is lacking is kept by name, nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

import devices
from devices import bench, prepare
from devices.engine import EngineError, ModelInfo
from devices.model import inspect
from devices.native import choice, programs
from devices.native.kernels import ensure


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path) -> None:
    """Kernels, and nothing prepared. Programs are compiled in this process."""
    from devices.native.assemble import assemble
    from devices.native.compiler import compile_model
    from devices.native.isa import best

    ensure()
    fresh = tmp_path / "cache"
    fresh.mkdir(mode=0o700)
    (fresh / "kernels").symlink_to((own_cache / "kernels").resolve())
    monkeypatch.setenv("ACE_CACHE", str(fresh))

    def compiled(model: ModelInfo, say: Callable[[str], None]) -> bytes:
        say(f"compiling {model.name}")
        return assemble(compile_model(model.path, dict(model.dims), model.digest), best())

    monkeypatch.setattr(programs, "_compiled", compiled)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Native takes half the time; the numbers of threads that were measured."""
    seen: list[int] = []

    def measure(path: Path, engines: tuple[str, ...], *, threads: int, **rest: Any) -> list[dict[str, float]]:
        assert engines == ("native", "onnxruntime")
        seen.append(threads)
        return [{"median_ms": 1.0}, {"median_ms": 2.0}]

    monkeypatch.setattr(bench, "bench_model", measure)
    monkeypatch.setattr("devices.cpu.usable_cores", lambda: 2)
    return seen


def test_a_model_is_compiled_and_measured_once(scale_model: Path, measured: list[int]) -> None:
    model = inspect(scale_model).as_model()
    done = prepare.prepare([model])
    assert [(each.what, each.made) for each in done][1:] == [("native kernels", False), ("program of model", True)]
    assert all(each.path is not None and each.path.stat().st_size == each.nbytes for each in done)
    assert choice.verdict(model).engine == "native"
    assert measured == [1, 2]
    said: list[str] = []
    assert not any(each.made for each in prepare.prepare([model], said.append))
    assert (measured, said) == ([1, 2], [])


def test_auto_takes_what_was_prepared(scale_model: Path, measured: list[int]) -> None:
    assert type(devices.load(scale_model)).__name__ != "NativeSession"
    prepare.prepare([inspect(scale_model).as_model()])
    assert type(devices.load(scale_model)).__name__ == "NativeSession"
    assert type(devices.load(scale_model, "onnxruntime")).__name__ != "NativeSession"


def test_what_native_lacks_is_kept_and_nothing_made(save_model: Callable[..., Path], measured: list[int]) -> None:
    path = save_model([helper.make_node("Elu", ["x"], ["a"]), helper.make_node("Hardmax", ["a"], ["y"], name="top")],
                      [("x", "float32", (1, 3))], [("y", "float32", (1, 3))])  # fmt: skip
    model = inspect(path).as_model()
    assert len(prepare.prepare([model])) == 1
    assert choice.verdict(model).why == "native lacks Hardmax (ai.onnx 17, node 'top')"
    assert prepare.choices() == [("model", choice.Choice(("Hardmax (ai.onnx 17, node 'top')",), ()))]
    assert not measured


def test_an_engine_that_the_manifest_names_is_not_measured(scale_model: Path, measured: list[int]) -> None:
    model = inspect(scale_model).as_model()
    assert len(prepare.prepare([replace(model, engine="onnxruntime")])) == 1
    assert [each.what for each in prepare.prepare([replace(model, engine="native")])][2:] == ["program of model"]
    assert not measured


def test_native_named_for_a_model_that_it_cannot_run(save_model: Callable[..., Path]) -> None:
    path = save_model([helper.make_node("Hardmax", ["x"], ["y"])], [("x", "float32", (1, 3))], [("y", "float32", (1, 3))])
    with pytest.raises(EngineError, match="the engine lacks Hardmax"):
        prepare.prepare([replace(inspect(path).as_model(), engine="native")])


def test_a_run_makes_ready_what_its_plan_names_and_measures_nothing(scale_model: Path, measured: list[int]) -> None:
    model = inspect(scale_model).as_model()
    assert [each.what for each in prepare.ready([])] == ["image kernels"]
    assert [each.made for each in prepare.ready([model])][1:] == [False, True]
    assert choice.find(model) is None
    path = programs.find(model)
    assert path is not None
    path.write_bytes(b"damaged")
    said: list[str] = []
    assert prepare.ready([model], said.append)[-1].made
    assert "set aside" in said[0]


def test_a_machine_that_native_cannot_work_on(scale_model: Path, measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.registry.why_missing", lambda engine: "no such machine")
    assert [each.what for each in prepare.prepare([inspect(scale_model).as_model()])] == ["image kernels"]
