from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from flow.cli.ops import description, row
from flow.cli.settings import Setting, settings
from ops import catalog


class Inner(BaseModel):
    name: str
    sizes: Annotated[list[int], Field(min_length=1, max_length=3)] = [1]


class Example(BaseModel):
    score: Annotated[float, Field(ge=0, le=1)] = 0.35
    speed: Annotated[float, Field(gt=0)] = 1.0
    below: Annotated[float, Field(lt=5)] = 1.0
    least: Annotated[int, Field(ge=2)]
    fit: Literal["crop", "stretch"] = "crop"
    point: tuple[float, float] = (0.0, 1.0)
    inner: Inner | None = None
    extra: dict[str, int] = {}


def test_settings_are_said_in_words() -> None:
    assert settings(Example) == [
        Setting("score", "number 0..1", "0.35"),
        Setting("speed", "number > 0", "1.0"),
        Setting("below", "number < 5", "1.0"),
        Setting("least", "integer >= 2", "required"),
        Setting("fit", "crop | stretch", '"crop"'),
        Setting("point", "[number, number]", "[0.0, 1.0]"),
        Setting("inner", "{name: string, sizes: list of 1..3 integer} or null", "null"),
        Setting("extra", "mapping of names to integer", "{}"),
    ]


@pytest.mark.parametrize("kind", catalog.all().values(), ids=lambda kind: kind.op)
def test_every_operator_describes_itself(kind: catalog.Kind) -> None:
    lines = description(kind)
    assert all(row(kind)), "an operator has a name, a kind, ports and a docstring"
    for name in [*kind.inputs, *kind.outputs, *kind.Config.model_fields]:
        assert any(line.startswith(f"  {name}: ") for line in lines)
    assert not any("any value" in line for line in lines), "every setting says what it takes"
