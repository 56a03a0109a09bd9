# ruff: noqa: E501 (whole messages)
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

import manifests
from manifests import ManifestError, Position
from manifests.labels import COCO80

Broken = Any
DIGEST = hashlib.sha256(b"stand-in").hexdigest()


def split(folder: Path) -> None:
    """The contract's example as three files."""
    text = (folder / "pet.yaml").read_text()
    (folder / "pet.yaml").unlink()
    for name, part in zip(("model", "business", "device"), text.split("---\n"), strict=True):
        (folder / f"{name}.yaml").write_text(part)


def test_contract_example(folder: Path) -> None:
    deployment = manifests.load("pet.yaml")
    assert deployment.device == "living-room"
    (use,) = deployment.uses
    assert (use.business.name, use.business.priority, use.on_error) == ("pet", 50, "restart")
    assert dict(use.set) == {"boxes.score": 0.5}
    assert use.business.graph["boxes"].config == {"score": 0.35, "iou": 0.45, "classes": ["cat", "dog"]}
    assert use.business.graph["pets"].inputs == {"detections": "boxes"}
    model = use.models["detector"]
    assert (model.path, model.digest, model.labels) == (folder / "models" / "yolox_nano.onnx", DIGEST, COCO80)
    assert deployment.lock["model/yolox-nano@^1"] == f"1.0.0@{DIGEST}"
    assert deployment.lock["business/pet@^1"].startswith("1.0.0@")


def test_every_position_is_kept(folder: Path) -> None:
    (use,) = manifests.load("pet.yaml").uses
    assert use.at("graph.boxes.config.score") == Position("pet.yaml", 23, 14)
    assert use.at("graph.boxes.config.classes.1") == Position("pet.yaml", 23, 53)
    assert use.at("graph.boxes.config.unknown") == Position("pet.yaml", 23, 5)
    assert use.at("outputs.pets").line == 27
    assert use.at("set.boxes.score").line == 36
    assert use.at("bind.camera").line == 36
    assert use.at("nowhere") == use.position == Position("pet.yaml", 10, 1)


def test_the_same_in_files_folders_and_json(folder: Path) -> None:
    whole = manifests.load("pet.yaml")
    split(folder)
    parts = manifests.load("business.yaml", folder / "device.yaml", "model.yaml")
    assert (parts.device, parts.streams, parts.lock) == (whole.device, whole.streams, whole.lock)
    assert manifests.load(".").lock == whole.lock
    assert parts.uses[0].at("graph").file == "business.yaml"


def test_without_a_device(folder: Path) -> None:
    split(folder)
    deployment = manifests.load("business.yaml", "model.yaml", bind={"camera": "clip.mp4"})
    assert (deployment.device, deployment.base) == ("local", folder)
    assert deployment.uses[0].bind == {"camera": "camera"}
    assert deployment.lock["business/pet"].startswith("1.0.0@")
    with pytest.raises(ManifestError, match=r"business.yaml:7:10: inputs.camera: expected a source .* --bind camera=SOURCE"):
        manifests.load("business.yaml", "model.yaml")


def test_models_alone_are_checked(folder: Path) -> None:
    split(folder)
    assert manifests.load("model.yaml").uses == ()
    (folder / "models" / "yolox_nano.onnx").unlink()
    with pytest.raises(ManifestError, match=r"model.yaml:5:1: file: expected a file in"):
        manifests.load("model.yaml")


def test_a_missing_model_is_told_once(folder: Path) -> None:
    text = (folder / "pet.yaml").read_text()
    text = text.replace("models: {detector: yolox-nano@^1}", "models: {detector: yolox-nano@^1, other: yolox-nano}")
    text = text.replace("outputs: {pets: pets}", "  more: {op: x, model: other, in: {i: camera}}\noutputs: {pets: pets, m: more}")
    (folder / "pet.yaml").write_text(text)
    (folder / "models" / "yolox_nano.onnx").unlink()
    with pytest.raises(ManifestError) as caught:
        manifests.load("pet.yaml")
    assert len(caught.value.problems) == 1


def test_missing_manifests(folder: Path) -> None:
    split(folder)
    with pytest.raises(ManifestError, match=r"businesses.0.use: expected a business among the given manifests, got `pet@\^1`"):
        manifests.load("device.yaml", "model.yaml")
    with pytest.raises(ManifestError, match=r"business.yaml:8:10: models.detector: expected a model among the given manifests"):
        manifests.load("device.yaml", "business.yaml")
    with pytest.raises(ManifestError, match="at least one path"):
        manifests.load()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("use: pet@^1", "use: pat@^1", "businesses.0.use: expected a business: `pet`, got `pat@^1` - did you mean `pet`?"),
        ("use: pet@^1", "use: pet@^2", "businesses.0.use: expected a version of pet in `^2`, got 1.0.0"),
        ("boxes.score: 0.5", "boxs.score: 0.5", "businesses.0.set.boxs.score: expected a node of pet: one of `boxes`, `pets`, got `boxs.score` - did you mean `boxes`?"),
        ("boxes.score: 0.5", "boxes: 0.5", "businesses.0.set.boxes: expected `node.key`, got `boxes` - such as `boxes.score`"),
        ("boxes.score: 0.5", "boxes.: 0.5", "expected `node.key`"),
        ("boxes.score: 0.5", "boxes.a: {}, boxes.a.b: 1", "businesses.0.set.boxes.a.b: expected a key that `boxes.a` does not set already"),
        ("image: camera}", "image: camra}", "graph.boxes.in.image: expected one of"),
        ("yolox-nano@^1", "yolo@^1", "models.detector: expected a model: `yolox-nano`, got `yolo@^1`"),
        ("  - {use", "  - {use: pet, bind: {camera: front}}\n  - {use", "businesses.1.use: expected every name once, got `pet` - `pet` stands at pet.yaml:36 already; call this one `name: pet-2`"),
    ],
)  # fmt: skip
def test_refused(broken: Broken, old: str, new: str, said: str) -> None:
    (line,) = broken(old, new)
    assert said in line


def test_problems_of_all_documents_are_told_together(broken: Broken) -> None:
    lines = broken("pad: 114", "pad: 1140, x: 1", bind={"no": ""})
    assert len(lines) == 3


def test_the_same_business_twice_under_two_names(folder: Path) -> None:
    text = (folder / "pet.yaml").read_text()
    text = text.replace("streams:\n", "streams:\n  back: {source: back.mp4}\n") + "  - {use: pet, name: pet-back, bind: {camera: back}}\n"
    (folder / "pet.yaml").write_text(text)
    front, back = manifests.load("pet.yaml").uses
    assert (front.business.name, back.business.name) == ("pet", "pet-back")
    assert back.bind == {"camera": "back"}
    assert front.models["detector"] is back.models["detector"]
    assert manifests.load("pet.yaml", bind={"pet-back.camera": "x.mp4"}).uses[1].bind == {"camera": "camera"}


def test_disabled_businesses_are_left_out(folder: Path) -> None:
    text = (folder / "pet.yaml").read_text().replace("on_error: restart", "enabled: false")
    (folder / "pet.yaml").write_text(text + "  - {use: absent, enabled: false}\n")
    deployment = manifests.load("pet.yaml")
    assert (deployment.uses, dict(deployment.streams), dict(deployment.lock)) == ((), {}, {})


def test_two_devices(folder: Path) -> None:
    (folder / "other.yaml").write_text("apiVersion: ace/v1\nkind: Device\nname: other\nstreams: {}\n")
    with pytest.raises(ManifestError, match=r"kind: expected one Device manifest, got a second one"):
        manifests.load("pet.yaml", "other.yaml")


def test_two_versions_of_a_business_without_a_device(folder: Path) -> None:
    split(folder)
    (folder / "new.yaml").write_text((folder / "business.yaml").read_text().replace("version: 1.0.0", "version: 1.1.0"))
    with pytest.raises(ManifestError, match=r"expected one version of pet, got 1.0.0 and 1.1.0"):
        manifests.load("business.yaml", "new.yaml", "model.yaml", bind={"camera": "a.mp4"})
    assert manifests.load(".").uses[0].business.version == "1.1.0"


def test_current_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ManifestError, match="expected a current folder"):
        manifests.load(tmp_path / "a.yaml")
