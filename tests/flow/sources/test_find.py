from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flow import sources
from flow.sources import SourceError, find, schemes


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("clip.mp4", "file"),
        ("file:clip.mp4", "file"),
        ("/data/clip.gif", "file"),
        ("photo.JPG", "images"),
        ("photos/*.png", "images"),
        ("/", "images"),
        ("rtsp://host/1", "rtsp"),
        ("rtsps://host/1", "rtsp"),
        ("v4l2:/dev/video0", "v4l2"),
        ("zmq:ipc:///run/frames", "zmq"),
    ],
)
def test_each_uri_has_its_source(uri: str, scheme: str) -> None:
    assert find(uri).scheme == scheme


def test_a_path_with_a_colon_is_a_path_when_it_is_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("zmq:clip.mp4").touch()
    assert find("zmq:clip.mp4").scheme == "file"


@pytest.mark.parametrize(("uri", "near"), [("rstp://host/1", "rtsp:"), ("vl2:/dev/video0", "v4l2:"), ("fil:clip.mp4", "file:")])
def test_an_unknown_scheme_names_the_nearest(uri: str, near: str) -> None:
    with pytest.raises(SourceError, match=f"did you mean {near}"):
        find(uri)


@pytest.mark.parametrize("uri", ["contract:x", "stream:x", "os.path:x", "x" * 3000 + ".mp4", "a\0b.mp4"])
def test_what_is_no_source_is_refused(uri: str) -> None:
    with pytest.raises(SourceError):
        sources.probe(uri)


def test_a_file_url_of_another_host_is_refused() -> None:
    with pytest.raises(SourceError, match="of this machine"):
        find("file://server/clip.mp4")


def test_third_parties_add_sources_by_entry_point(monkeypatch) -> None:
    class Radio:
        scheme = "radio"

    entry = SimpleNamespace(name="radio", load=lambda: Radio)
    monkeypatch.setattr(sources, "entry_points", lambda group, name=None: [entry] if name in (None, "radio") else [])
    assert find("radio:98.5") is Radio
    assert "radio" in schemes()
    assert importlib.metadata.entry_points is not sources.entry_points


def test_importing_and_finding_loads_nothing_heavy() -> None:
    code = (
        "import sys, flow.sources, flow.sources.stream; flow.sources.find('a.mp4'); flow.sources.find('rtsp://a/b');"
        "flow.sources.find('a.png'); flow.sources.find('zmq:tcp://a:1'); flow.sources.find('v4l2:/dev/video0');"
        "print([name for name in ('av', 'cv2', 'zmq', 'onnxruntime', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
