from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import catalog
from ops.boxes.nms import Nms
from ops.contract import Operator
from ops.detect.yolox import Yolox

GOOD = """
from ops.contract import Operator


class Blur(Operator):
    op = "mine.blur"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, for distributions of a test's own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog.forget()
    yield tmp_path
    monkeypatch.undo()
    catalog.forget()
    for name in [name for name in sys.modules if name.startswith("acetest_")]:
        del sys.modules[name]


def distribution(site: Path, name: str, entries: str, *, record: bool = False, **modules: str) -> None:
    """Modules that a distribution brings, with its entry points; `record`: as an installer leaves it."""
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ace.operators]\n{entries}\n")
    if record:
        lines = [f"{module}.py,sha256={recorded(source)},{len(source)}" for module, source in modules.items()]
        lines += [f"../../bin/{name},sha256=x,1", f"{name}-1.0.dist-info/METADATA,sha256=y,1", f"{name}-1.0.dist-info/RECORD,,"]
        (info / "RECORD").write_text("\n".join(lines) + "\n")


def recorded(source: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(source.encode()).digest()).rstrip(b"=").decode()


def test_built_in_operators_are_found_by_name() -> None:
    assert catalog.find("boxes.nms") is Nms
    assert catalog.find("detect.yolox") is Yolox


def test_every_built_in_operator_is_where_its_name_says() -> None:
    found = catalog.all()
    assert {"boxes.nms", "detect.yolox", "decode.palm", "track.byte", "draw.results", "nn.infer"} <= set(found)
    for name, kind in found.items():
        assert kind.op == name
        assert kind.__module__ == f"ops.{name}"
        assert catalog.find(name) is kind


def test_importing_every_operator_loads_no_heavy_library() -> None:
    code = "import sys; from ops import catalog; catalog.all(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    ).stdout.split()
    assert not {"cv2", "lap", "numba", "onnxruntime", "onnx", "av", "zmq"} & set(loaded)


def test_finding_one_operator_imports_one_module() -> None:
    code = "import sys; from ops import catalog; catalog.find('boxes.nms'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    ).stdout.split()
    assert "ops.boxes.nms" in loaded
    assert not {"ops.track.byte", "ops.draw.results"} & set(loaded)


@pytest.mark.parametrize(("name", "hint"), [("boxes.nsm", "did you mean 'boxes.nms'?"), ("zzz", "`ace ops` lists them all")])
def test_an_unknown_name_gets_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(catalog.UnknownOperator) as caught:
        catalog.find(name)
    assert str(caught.value) == f"expected the name of an operator, got {name!r} ({hint})"


@pytest.mark.parametrize(
    "name", ["", "ops.boxes", "boxes..nms", "../boxes", "image.fit", "contract", "boxes.geometry", "os.path", "Boxes.nms"]
)
def test_what_is_no_operator_is_unknown(name: str) -> None:
    with pytest.raises(catalog.UnknownOperator):
        catalog.find(name)


def test_a_distribution_brings_its_own(site: Path) -> None:
    distribution(site, "good", "mine.blur = acetest_good:Blur", acetest_good=GOOD)
    assert issubclass(catalog.find("mine.blur"), Operator)
    assert "mine.blur" in catalog.names()
    assert catalog.broken() == ()


@pytest.mark.parametrize(
    ("entry", "source", "reason"),
    [
        ("mine.blur = acetest_bad:Blur", "raise RuntimeError('boom')", "RuntimeError: boom"),
        ("mine.blur = acetest_bad:Blurr", GOOD, "AttributeError"),
        ("mine.blur = acetest_gone:Blur", "", "ModuleNotFoundError"),
        ("mine.blur = acetest_bad:Blur", "Blur = 3", "expected a class derived from Operator or Composite, got 3"),
        ("mine.other = acetest_bad:Blur", GOOD, "expected `op = 'mine.other'` in Blur, got 'mine.blur'"),
        ("Blur = acetest_bad:Blur", GOOD, "lower-case words joined by dots"),
        ("boxes.nms = acetest_bad:Blur", GOOD, "taken by a built-in operator"),
    ],
)
def test_a_broken_plug_in_is_reported_and_stops_nothing(site: Path, entry: str, source: str, reason: str) -> None:
    distribution(site, "bad", entry, acetest_bad=source)
    name = entry.partition(" ")[0]
    (report,) = catalog.broken()
    assert (report.name, report.distribution) == (name, "bad")
    assert reason in report.reason
    assert catalog.find("boxes.nms") is Nms
    if name != "boxes.nms":
        with pytest.raises(catalog.UnknownOperator, match="cannot be used"):
            catalog.find(name)


def test_a_name_offered_twice_is_refused(site: Path) -> None:
    distribution(site, "one", "mine.blur = acetest_one:Blur", acetest_one=GOOD)
    distribution(site, "two", "mine.blur = acetest_two:Blur", acetest_two=GOOD)
    with pytest.raises(catalog.UnknownOperator, match="one, two"):
        catalog.find("mine.blur")
    assert "mine.blur" not in catalog.all()


def test_the_digest_of_sources_changes_with_them(site: Path) -> None:
    distribution(site, "good", "mine.blur = acetest_good:Blur", acetest_good=GOOD)
    before = catalog.code_digest(catalog.find("mine.blur"))
    (site / "acetest_good.py").write_text(GOOD + "# changed\n")
    assert catalog.code_digest(catalog.find("mine.blur")) == before  # for this process nothing changed
    catalog.forget()
    assert catalog.code_digest(catalog.find("mine.blur")) != before


def test_the_digest_of_an_installed_distribution_is_what_was_recorded(site: Path) -> None:
    distribution(site, "good", "mine.blur = acetest_good:Blur", record=True, acetest_good=GOOD)
    digest = catalog.code_digest(catalog.find("mine.blur"))
    assert digest == hashlib.sha256(f"acetest_good.py\0{recorded(GOOD)}\n".encode()).hexdigest()


def test_built_in_operators_share_a_digest() -> None:
    assert catalog.code_digest(Nms) == catalog.code_digest(Yolox)
    assert len(catalog.code_digest(Nms)) == 64


def test_a_class_without_a_file_has_no_digest() -> None:
    nameless = type("Nameless", (Operator,), {"op": "mine.nameless", "__module__": "nowhere"})
    with pytest.raises(ValueError, match="no source file"):
        catalog.code_digest(nameless)
