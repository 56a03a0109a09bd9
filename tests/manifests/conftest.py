from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.errors import ManifestError

Broken = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: the contract's example as pet.yaml, with a stand-in for its model file."""
    shutil.copy(Path(__file__).parent / "contract.yaml", tmp_path / "pet.yaml")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "yolox_nano.onnx").write_bytes(b"stand-in")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def broken(folder: Path) -> Broken:
    """Loads the contract's example with one text replaced; returns the problems, one line each."""
    import manifests

    def load(old: str, new: str, **arguments: object) -> list[str]:
        text = (folder / "pet.yaml").read_text()
        assert old in text
        (folder / "pet.yaml").write_text(text.replace(old, new, 1))
        with pytest.raises(ManifestError) as caught:
            manifests.load("pet.yaml", **arguments)  # type: ignore[arg-type]
        return str(caught.value).splitlines()

    return load
