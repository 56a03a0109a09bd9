"""A model that two businesses of a real device share: one rollout changes both, and one whose range refuses it keeps the old one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manifests import examples
from manifests.bundle.pack import pack

from .world import Cloud, Device, wait_for

DEVICE = """\
apiVersion: ace/v1
kind: Device
name: hall
streams: {front: {source: "synthetic:home?size=320x180&fps=10"}}
businesses:
  - {use: pet@^1, bind: {camera: front}}
  - {use: gesture@^1, bind: {camera: front}}
"""


def models(folder: Path, version: str, *others: str, device: bool = False) -> Path:
    """A bundle of the example detector in this version, and of other examples."""
    import onnx

    place = folder / f"scenes-{version}"
    (place / "models").mkdir(parents=True)
    for name in ("scenes", *others):
        text = (Path(examples.path()) / f"{name}.yaml").read_text()
        if name == "scenes":
            text = text.replace("version: 1.0.0", f"version: {version}")
        if name == "pet":
            text = text.replace("scenes@^1", "scenes@>=1")
        (place / f"{name}.yaml").write_text(text)
    if device:
        (place / "device.yaml").write_text(DEVICE)
    shutil.copyfile(Path(examples.path()) / "models" / "scenes.onnx", place / "models" / "scenes.onnx")
    model = onnx.load(place / "models" / "scenes.onnx")
    model.doc_string = version
    onnx.save(model, place / "models" / "scenes.onnx")
    path = folder / f"scenes-{version}.ace"
    pack(place).save(path)
    return path


def test_one_model_of_two_businesses(tmp_path: Path, cloud: Cloud, device: Callable[..., Device]) -> None:
    factory = models(tmp_path, "1.0.0", "pet", "gesture", device=True)
    for path in (factory, models(tmp_path, "1.1.0"), models(tmp_path, "2.0.0")):
        cloud.publish(path)
    outputs = {name: tmp_path / f"{name}.jsonl" for name in ("pets", "gestures")}
    more = tuple(word for name, path in outputs.items() for word in ("--out", f"{name}={path}"))
    hall = device("hall", factory=factory, join=cloud.join("hall", "home"), more=more).start()
    cloud.approve(["hall"])
    wait_for(lambda: all(len(hall.rows(path)) > 20 for path in outputs.values()), lambda: hall.said)

    def runs() -> dict[str, str]:
        return {each["business"]["name"]: each["models"]["detector"]["version"] for each in cloud.query("hall")["reported"]["active"]}

    def rolled_out(version: str, **more: Any) -> dict[str, Any]:
        body = {"cohort": "home", "item": f"model/scenes@{version}", "stages": ["1"], "probation_s": 2.0, **more}
        return cloud.rolled_out(body, lambda: (cloud.history("hall"), hall.said))

    assert rolled_out("1.1.0")["devices"] == {"done": 1}
    wait_for(lambda: runs() == {"pet": "1.1.0", "gesture": "1.1.0"}, runs)
    (proof,) = [step["evidence"]["switch"] for step in cloud.history("hall") if step["state"] == "probation"]
    assert proof["lost"] == 0
    assert not {name for name in proof["reset"] if name.startswith("pet.pets")}, "the tracker keeps its tracks"

    refused = cloud.client.post("/v1/reload", json={"device": "hall", "items": ["model/scenes@2.0.0"], "all": True})
    assert refused.status_code == 409
    assert "business/gesture@1.0.0 takes scenes@^1: nothing was reloaded" in refused.text
    done = cloud.call("POST", "/v1/reload", {"device": "hall", "items": ["model/scenes@2.0.0"], "probation_s": 2.0})
    assert (done["businesses"], done["kept"]) == (["pet"], {"gesture": "business/gesture@1.0.0 takes scenes@^1"})
    assert cloud.wait_outcome("hall", done["devices"][0]["revision"], "done", "failed")["outcome"] == "done"
    wait_for(lambda: runs() == {"pet": "2.0.0", "gesture": "1.1.0"}, runs)
    hall.stop()
    for path in outputs.values():
        seqs = [row["seq"] for row in hall.rows(path)]
        assert seqs == sorted(set(seqs)), "nothing doubled"
