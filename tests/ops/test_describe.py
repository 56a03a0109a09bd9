from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from ops import catalog
from ops.contract import Operator


def test_an_operator_with_its_settings() -> None:
    about = catalog.describe(catalog.find("boxes.nms"))
    assert (about.name, about.kind, about.needs_model) == ("boxes.nms", "pure", False)
    assert set(about.inputs) == set(about.outputs) == {"detections"}
    assert about.steps == {}
    iou = about.settings[0]
    assert (iou.name, iou.type, iou.default, iou.required, iou.doc) == ("iou", "number 0..1", 0.45, False, "overlap allowed, 0..1.")
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


class Inner(BaseModel):
    name: str
    sizes: Annotated[list[int], Field(min_length=1, max_length=3)] = [1]


class Example(Operator):
    """An operator with a setting of every kind."""

    op = "example.settings"

    class Config(Operator.Config):
        score: Annotated[float, Field(ge=0, le=1)] = 0.35
        speed: Annotated[float, Field(gt=0)] = 1.0
        below: Annotated[float, Field(lt=5)] = 1.0
        least: Annotated[int, Field(ge=2)] = 2
        fit: Literal["crop", "stretch"] = "crop"
        point: tuple[float, float] = (0.0, 1.0)
        inner: Inner | None = None
        extra: dict[str, int] = {}


def test_what_a_setting_takes_is_said_in_words() -> None:
    assert {setting.name: setting.type for setting in catalog.describe(Example).settings} == {
        "score": "number 0..1",
        "speed": "number > 0",
        "below": "number < 5",
        "least": "integer >= 2",
        "fit": "crop | stretch",
        "point": "[number, number]",
        "inner": "{name: string, sizes: list of 1..3 integer} | none",
        "extra": "mapping of names to integer",
    }
