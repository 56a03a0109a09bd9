from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from devices.engine import ModelInfo
from devices.kernels import cache
from devices.native import choice, programs
from devices.native.choice import Measured, Verdict, verdict

MODEL = ModelInfo("pets", "1.0.0", Path("pets.onnx"), "ab" * 32, (), ())
FASTER, SLOWER = Measured(1, 40, 5.0, 10.0), Measured(2, 40, 7.0, 6.0)


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "cache"))


def test_a_model_that_was_not_prepared_runs_on_onnxruntime() -> None:
    assert verdict(MODEL) == Verdict("onnxruntime", "not prepared: `ace prepare` measures whether native is faster")


def test_the_faster_engine_runs_it() -> None:
    choice.keep(MODEL, (), [FASTER])
    assert verdict(MODEL) == Verdict("native", "native was measured faster: 5.00 against 10.00 ms with 1 thread")


def test_native_must_be_faster_with_every_number_of_threads() -> None:
    choice.keep(MODEL, (), [FASTER, SLOWER])
    assert verdict(MODEL).engine == "onnxruntime"
    assert verdict(MODEL).why.startswith("native was measured no faster: 5.00 against 10.00 ms with 1 thread, 7.00 against 6.00 ms with 2")


def test_what_is_missing_is_named() -> None:
    choice.keep(MODEL, ["Einsum (ai.onnx 17, node 'e')"], ())
    assert verdict(MODEL) == Verdict("onnxruntime", "native lacks Einsum (ai.onnx 17, node 'e')")


def test_the_manifest_has_the_last_word() -> None:
    choice.keep(MODEL, (), [FASTER])
    assert verdict(replace(MODEL, engine="onnxruntime")) == Verdict("onnxruntime", "named by the Model manifest")
    assert verdict(replace(MODEL, engine="native")) == Verdict("native", "named by the Model manifest")


@pytest.mark.parametrize(
    "other",
    [
        lambda patch: replace(MODEL, digest="cd" * 32),
        lambda patch: replace(MODEL, dims=(("n", 1),)),
        lambda patch: patch.setattr(choice, "_device", lambda: "another CPU") or MODEL,
        lambda patch: patch.setattr(programs, "sources", lambda: b"edited") or MODEL,
    ],
    ids=["digest", "dims", "device", "compiler"],
)
def test_a_choice_is_for_what_was_measured(other: Callable[[pytest.MonkeyPatch], ModelInfo], monkeypatch: pytest.MonkeyPatch) -> None:
    choice.keep(MODEL, (), [FASTER])
    model = other(monkeypatch)
    assert verdict(model).engine == "onnxruntime"
    assert choice.kept() == ([] if model is MODEL else [("pets 1.0.0", choice.Choice((), (FASTER,)))])


@pytest.mark.parametrize(
    "told",
    ["", "{", "[]", "null", '{"missing": [], "measured": [{}]}', '{"missing": [1], "measured": []}', '{"missing": []}', "[" * 5000]
    + [json.dumps({"missing": [], "measured": [{"threads": 1, "runs": 40, "native_ms": bad, "onnxruntime_ms": 1.0}]})
       for bad in (0.0, -1.0, float("nan"), "fast", True)],
)  # fmt: skip
def test_a_damaged_choice_is_none(told: str) -> None:
    choice.keep(MODEL, (), [FASTER])
    (path,) = cache.folder(programs.KIND).glob("*.json")
    path.write_text(told)
    assert verdict(MODEL).engine == "onnxruntime"
    assert choice.kept() == []


def test_a_folder_that_cannot_be_trusted_chooses_nothing(tmp_path: Path) -> None:
    choice.keep(MODEL, (), [FASTER])
    (tmp_path / "cache" / "programs").chmod(0o777)
    assert verdict(MODEL).engine == "onnxruntime"
