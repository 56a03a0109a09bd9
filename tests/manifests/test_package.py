from __future__ import annotations

import subprocess
import sys

import pytest

import manifests


def test_everything_public_is_there() -> None:
    for name in manifests.__all__:
        assert getattr(manifests, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        manifests.nothing  # noqa: B018


def test_import_is_light() -> None:
    code = "import sys, manifests; print([name for name in ('pydantic', 'yaml', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_load_stays_a_function_whatever_is_imported() -> None:
    code = "import manifests.loading, manifests.builder, manifests; print(callable(manifests.load), callable(manifests.build))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "True True"
