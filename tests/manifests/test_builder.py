# ruff: noqa: E501 (whole messages)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import manifests
from manifests import Business, Device, ManifestError, Model
from manifests.builder import Builder


def pet() -> Builder:
    pet = manifests.build("pet", version="1.0.0", title="Pet detection", goals={"rate": 10, "latency_ms": 150})
    camera = pet.input("camera")
    detector = pet.model("detector", "yolox-nano@^1")
    boxes = pet.node("boxes", "detect.yolox", image=camera, model=detector, score=0.35, iou=0.45, classes=["cat", "dog"])
    tracks = pet.node("pets", "track.byte", detections=boxes)
    pet.output("pets", tracks)
    return pet


def test_the_contract_example_in_python(folder: Path) -> None:
    assert pet().business() == manifests.load("pet.yaml").uses[0].business


def test_ports_deadline_and_keys_of_any_name() -> None:
    builder = manifests.build("b", version="1.0.0")
    first = builder.node("first", "a", **{"in": builder.input("camera")}, config={"model": 1, "class": "x"}, deadline_ms=5)
    builder.output("o", builder.node("second", "b", image=first["crops"]))
    business = builder.business()
    assert business.graph["first"].config == {"model": 1, "class": "x"}
    assert (business.graph["first"].inputs, business.graph["first"].deadline_ms) == ({"in": "camera"}, 5)
    assert business.graph["second"].inputs == {"image": "first.crops"}


def test_dump_reads_like_the_contract() -> None:
    text = manifests.dump(pet().business(), Device(name="d", streams={}))
    assert text.startswith("apiVersion: ace/v1\nkind: Business\nname: pet\nversion: 1.0.0\ntitle: Pet detection\ninputs: {camera: image}\n")
    assert "    in: {image: camera}\n    model: detector\n" in text
    assert "classes: [cat, dog]" in text
    assert "priority" not in text
    assert text.endswith("---\napiVersion: ace/v1\nkind: Device\nname: d\nstreams: {}\n")


def test_loaded_without_a_file(folder: Path) -> None:
    model = Model(name="yolox-nano", version="1.2.0", file="yolox_nano.onnx", labels="coco80")
    deployment = manifests.load(pet().business(), model, bind={"camera": "clip.mp4"}, base="models")
    (use,) = deployment.uses
    assert use.business == pet().business()
    assert use.models["detector"].path == folder / "models" / "yolox_nano.onnx"
    assert str(use.at("graph.boxes")) == "<built in Python>"


def test_mixed_with_files(folder: Path) -> None:
    other = manifests.build("other", version="1.0.0")
    other.output("o", other.node("n", "x", image=other.input("camera")))
    device = Device.model_validate(
        {"name": "d", "streams": {"s": {"source": "a.mp4"}}, "businesses": [{"use": "pet", "bind": {"camera": "s"}}]}
    )
    text = (folder / "pet.yaml").read_text()
    (folder / "pet.yaml").write_text(text[: text.rindex("---")])
    assert len(manifests.load("pet.yaml", other.business(), bind={"camera": "a.mp4"}).uses) == 2
    assert manifests.load("pet.yaml", device).streams["s"].source == str(folder / "a.mp4")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda b: b.output("o", b.node("n", "x", image=b.input("Camera"))), "inputs.Camera: expected a name"),
        (lambda b: b.input("camera"), "graph: expected at least 1 item(s)"),
        (lambda b: b.output("o", b.node("n", "x", image=b.input("c"), score=float("nan"))), "expected values that can be written as YAML"),
        (lambda b: b.output("o", b.node("n", "x", image=b.input("c"), score=object())), "expected values that can be written as YAML"),
        (lambda b: (b.input("c"), b.input("c")), "inputs.c: expected every name once, got `c` twice"),
        (lambda b: b.output("o", manifests.build("else", version="1.0.0").input("c")), "expected what input(), node() or model() of b gave, got one of else"),
        (lambda b: b.output("o", "n"), "expected what input(), node() or model() of b gave, got `n`"),
        (lambda b: b.node("n", "x", model="detector"), "expected what input(), node() or model() of b gave, got `detector`"),
        (lambda b: b.output("o", b.node("n", "x", i=b.input("c"), model=b.model("m", "m@^^"))), "models.m: expected a version range"),
        (lambda b: b.output("o", b.node("n", "x", i=b.input("c")["port"])), "an input has no ports"),
        (lambda b: (b.model("m", "m"), b.output("o", b.node("n", "x", i=b.input("c")))), "models.m: expected a model that a node uses"),
    ],
)  # fmt: skip
def test_refused(build: Any, said: str) -> None:
    builder = manifests.build("b", version="1.0.0")

    def attempt() -> None:
        build(builder)
        builder.business()

    with pytest.raises(ManifestError) as caught:
        attempt()
    assert said in str(caught.value)


def test_unknown_header() -> None:
    builder = manifests.build("b", version="1.0.0", prioritty=5)
    builder.output("o", builder.node("n", "x", i=builder.input("c")))
    with pytest.raises(ManifestError, match="did you mean `priority`"):
        builder.business()


TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["yes", "1e3", "0777", "0x1f", "0o17", "<<", "=", "~", "null", "", " a", "a: b", "a #b", "2024-01-01", "1_0", "12:30", "-", "*a", "&a", "!t",
     "\x85", "\u2028", "\ufeff", "\x00", "\x7f", "a\nb", "\t", "%", "@", "😀", ".nan", "-.inf", "1.", "'", '"', "---", "... "]
)  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(bool), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,5}[a-z0-9])?", fullmatch=True)


@st.composite
def businesses(draw: st.DrawFn) -> Business:
    builder = manifests.build(draw(NAMES), version="1.2.3-rc.1", title=draw(TEXT), priority=draw(st.integers(0, 100)))
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique=True))
    wire = builder.input(names[0])
    for name in names[1:]:
        wire = builder.node(name, draw(TEXT.filter(bool)), config=draw(st.dictionaries(TEXT.filter(bool), PLAIN, max_size=3)), image=wire)
    builder.output(draw(NAMES), wire)
    return builder.business()


@given(st.lists(businesses(), min_size=1, max_size=3, unique_by=lambda business: business.name))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60)
def test_written_and_read_back_as_equal(tmp_path: Path, built: list[Business]) -> None:
    (tmp_path / "all.yaml").write_text(manifests.dump(*built), encoding="utf-8")
    loaded = manifests.load(tmp_path / "all.yaml", unbound="synthetic:x")
    assert [use.business for use in loaded.uses] == built
    direct = manifests.load(*built, unbound="synthetic:x")
    assert [use.business for use in direct.uses] == built
    assert direct.lock == loaded.lock


def test_models_and_devices_written_and_read_back(folder: Path) -> None:
    deployment = manifests.load("pet.yaml")
    model = deployment.uses[0].models["detector"].manifest
    device = Device.model_validate(
        {
            "name": "d",
            "streams": {
                "s": {"source": "a.mp4", "overload": {"every": 3}, "size": [640, 480], "fps": 12.5, "loop": True, "reconnect": False}
            },
            "businesses": [
                {"use": "pet", "name": "1e3", "bind": {"camera": "s"}, "set": {"boxes.score": 1, "boxes.x": "no"}, "on_error": "skip"}
            ],
        }
    )
    (folder / "pet.yaml").write_text(manifests.dump(model, deployment.uses[0].business, device))
    again = manifests.load("pet.yaml")
    assert again.uses[0].models["detector"].manifest == model
    assert again.streams["s"] == device.streams["s"].model_copy(update={"source": str(folder / "a.mp4")})
    assert (again.uses[0].business.name, again.uses[0].set, again.uses[0].on_error) == ("1e3", {"boxes.score": 1, "boxes.x": "no"}, "skip")
