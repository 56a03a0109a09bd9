from __future__ import annotations

import pytest

from ops import catalog


def test_an_operator_with_its_settings() -> None:
    about = catalog.describe(catalog.find("boxes.nms"))
    assert (about.name, about.kind, about.needs_model) == ("boxes.nms", "pure", False)
    assert set(about.inputs) == set(about.outputs) == {"detections"}
    assert about.steps == {}
    iou = about.settings[0]
    assert (iou.name, iou.type, iou.default, iou.required, iou.doc) == ("iou", "number >=0 <=1", 0.45, False, "overlap allowed, 0..1.")
    assert about.schema["properties"]["iou"]["default"] == 0.45


def test_a_composite_with_its_steps() -> None:
    about = catalog.describe(catalog.find("detect.yolox"))
    assert about.kind == "composite"
    assert dict(about.steps) == {"letterbox": "image.letterbox", "infer": "nn.infer", "decode": "decode.yolox", "nms": "boxes.nms"}
    settings = {setting.name: setting for setting in about.settings}
    assert settings["score"].default == 0.35
    assert settings["iou"].doc == "overlap allowed between two kept boxes."


def test_required_settings_have_no_default() -> None:
    line = catalog.describe(catalog.find("count.line")).settings
    assert [(setting.name, setting.required) for setting in line if setting.required] == [("line", True)]


OURS = ("boxes", "classify", "count", "decode", "detect", "draw", "hand", "motion", "pen", "track")


@pytest.mark.parametrize("name", [name for name in catalog.names() if name.partition(".")[0] in OURS])
def test_everything_is_documented(name: str) -> None:
    about = catalog.describe(catalog.find(name))
    assert about.doc
    assert about.inputs
    assert about.outputs
    assert all(setting.doc for setting in about.settings), [setting.name for setting in about.settings if not setting.doc]
