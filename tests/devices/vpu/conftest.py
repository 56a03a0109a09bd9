from __future__ import annotations

from pathlib import Path

import pytest

from tests.devices.vpu.network import save_network


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A quantized model file that the machine runs."""
    return save_network(tmp_path / "net.onnx")
