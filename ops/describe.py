"""What an operator is, as data: for `ace ops NAME`, and for whoever writes documents or editors from it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from devices.engine import ModelInfo, PixelInput
from ops.contract import Composite, Config, Operator, Port

SETTING = re.compile(r"((?:`\w+`(?:, )?)+): ")


@dataclass(frozen=True, slots=True)
class Setting:
    """A config key. `type` as in JSON Schema; `default` is None for a required one."""

    name: str
    type: str
    default: Any
    required: bool
    doc: str


@dataclass(frozen=True, slots=True)
class Description:
    """An operator or composite. `steps` (of a composite): step -> operator. `schema`: JSON Schema of the config."""

    name: str
    kind: str
    doc: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    needs_model: bool
    settings: tuple[Setting, ...]
    schema: Mapping[str, Any]
    steps: Mapping[str, str]


def describe(kind: type[Operator] | type[Composite]) -> Description:
    """The description of a class that `catalog.find` gave."""
    return Description(
        name=kind.op,
        kind=kind.kind if issubclass(kind, Operator) else "composite",
        doc=inspect.getdoc(kind) or "",
        inputs=dict(kind.inputs),
        outputs=dict(kind.outputs),
        needs_model=kind.needs_model,
        settings=_settings(kind.Config),
        schema=kind.Config.model_json_schema(),
        steps=_steps(kind) if issubclass(kind, Composite) else {},
    )


def _settings(config: type[BaseModel]) -> tuple[Setting, ...]:
    docs = _documented(config)
    properties = config.model_json_schema().get("properties", {})
    return tuple(
        Setting(
            name=name,
            type=_type(properties.get(name, {})),
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            required=field.is_required(),
            doc=docs.get(name, ""),
        )
        for name, field in config.model_fields.items()
    )


def _documented(config: type[BaseModel]) -> dict[str, str]:
    """What the class's docstrings say of each key, written "`key`: text `other`: text"."""
    docs: dict[str, str] = {}
    for base in config.__mro__:
        if not issubclass(base, BaseModel) or base in (BaseModel, Config):
            continue
        parts = SETTING.split(" ".join((base.__doc__ or "").split()))
        for keys, text in zip(parts[1::2], parts[2::2], strict=True):
            for key in re.findall(r"\w+", keys):
                docs.setdefault(key, text.strip())
    return docs


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    limits = [f"{sign}{schema[key]}" for key, sign in LIMITS.items() if key in schema]
    return " ".join([{"null": "none"}.get(schema.get("type", "any"), schema.get("type", "any")), *limits])


LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _steps(kind: type[Composite]) -> dict[str, str]:
    """Steps at the default settings, for a model with a picture of 320 x 320; empty where that cannot be said without a real model."""
    pixels = PixelInput("images", 320, 320)
    model = ModelInfo("example", "0", Path("example.onnx"), "", (), (), input=pixels)
    try:
        return {name: step.op for name, step in kind.expand(kind.Config(), model).steps.items()}
    except Exception:
        return {}
