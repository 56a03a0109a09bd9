from __future__ import annotations

import importlib
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OPERATORS = Path(__file__).parent / "operators"


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Makes the test operators an installed distribution, in this process and in those it starts."""
    from ops import catalog

    monkeypatch.syspath_prepend(str(OPERATORS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(OPERATORS), os.environ.get("PYTHONPATH")])))
    importlib.invalidate_caches()
    catalog.forget()
    yield OPERATORS
    monkeypatch.undo()
    catalog.forget()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes (once each) a video of `frames` flat pictures whose level tells their number: level of frame k is 16 + k % 200."""
    folder = tmp_path_factory.mktemp("clips")

    def make(frames: int, width: int = 64, height: int = 48, fps: int = 25) -> Path:
        import av

        path = folder / f"{frames}-{width}x{height}-{fps}.mkv"
        if not path.exists():
            with av.open(str(path), "w") as out:
                stream = out.add_stream("ffv1", rate=fps)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for number in range(frames):
                    picture = np.full((height * 3 // 2, width), 128, np.uint8)
                    picture[:height] = 16 + number % 200
                    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
                    frame.pts = number
                    out.mux(stream.encode(frame))
                out.mux(stream.encode())
        return path

    return make


@pytest.fixture
def business(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Business manifest from its graph (and what else is given) to a file."""

    def write(graph: str, outputs: Mapping[str, str], name: str = "probe", inputs: tuple[str, ...] = ("camera",), **more: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        text = [
            "apiVersion: ace/v1", "kind: Business", f"name: {name}", "version: 1.0.0",
            "inputs: {" + ", ".join(f"{one}: image" for one in inputs) + "}",
            "graph:", textwrap.indent(textwrap.dedent(graph).strip("\n"), "  "),
            "outputs: {" + ", ".join(f"{key}: {value}" for key, value in outputs.items()) + "}",
            *(f"{key}: {value}" for key, value in more.items()),
        ]  # fmt: skip
        path.write_text("\n".join(text) + "\n")
        return path

    return write
