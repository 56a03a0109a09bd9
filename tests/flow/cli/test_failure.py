from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import typer

from flow.cli.failure import STATUS, failures, status_of


@pytest.mark.parametrize("name", STATUS)
def test_every_class_named_exists_under_that_name(name: str) -> None:
    module, _, kind = name.rpartition(".")
    found = getattr(import_module(module), kind)
    assert f"{found.__module__}.{found.__qualname__}" == name
    assert issubclass(found, Exception)


def test_a_wrong_input_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    from devices.engine import EngineError

    with pytest.raises(typer.Exit) as end, failures():
        raise EngineError("engine: expected onnxruntime, got 'onnx'")
    assert end.value.exit_code == 2
    assert capsys.readouterr().err == "engine: expected onnxruntime, got 'onnx'\n"


def test_a_subclass_counts_as_its_base() -> None:
    assert status_of(PermissionError(13, "Permission denied", "x")) == 2


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), failures():
        Path("/nonexistent/report.json").read_text()
    assert capsys.readouterr().err == "/nonexistent/report.json: No such file or directory\n"


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), failures():
        1 / 0  # noqa: B018
