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
    """A config key. `type` in words; `default` is None for a required one."""

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
    schema = config.model_json_schema()
    properties, defined = schema.get("properties", {}), schema.get("$defs", {})
    return tuple(
        Setting(
            name=name,
            type=_type(properties.get(name, {}), defined),
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


def _type(schema: Mapping[str, Any], defined: Mapping[str, Any]) -> str:
    """A JSON Schema in words: `number 0..1`, `list of 3..256 [number, number]`, `crop | stretch`."""
    match schema:
        case {"$ref": str(reference)}:
            return _type(defined[reference.rpartition("/")[2]], defined)
        case {"anyOf": list(options)}:
            return " | ".join(dict.fromkeys(_type(option, defined) for option in options))
        case {"enum": list(values)}:
            return " | ".join(map(str, values))
        case {"const": value}:
            return str(value)
        case {"type": "array", "prefixItems": list(items)}:
            return f"[{', '.join(_type(item, defined) for item in items)}]"
        case {"type": "array"}:
            size = _between(schema.get("minItems"), schema.get("maxItems"))
            return f"list of {size + ' ' if size else ''}{_type(schema.get('items', {}), defined)}"
        case {"type": "object", "properties": Mapping() as named}:
            return "{" + ", ".join(f"{name}: {_type(each, defined)}" for name, each in named.items()) + "}"
        case {"type": "object", "additionalProperties": Mapping() as each}:
            return f"mapping of names to {_type(each, defined)}"
        case {"type": "null"}:
            return "none"
        case {"type": str(kind)}:
            above = f" > {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""
            below = f" < {schema['exclusiveMaximum']}" if "exclusiveMaximum" in schema else ""
            size = _between(schema.get("minimum"), schema.get("maximum"))
            return f"{kind}{above}{below}{' ' + size if size else ''}"
    return "any"


def _between(least: float | None, most: float | None) -> str:
    """`0..1`, `>= 0`, `<= 1`, or nothing."""
    if least is not None and most is not None:
        return f"{least}..{most}"
    return f">= {least}" if least is not None else f"<= {most}" if most is not None else ""


def _steps(kind: type[Composite]) -> dict[str, str]:
    """Steps at the default settings, for a model with a picture of 320 x 320; empty where that cannot be said without a real model."""
    pixels = PixelInput("images", 320, 320)
    model = ModelInfo("example", "0", Path("example.onnx"), "", (), (), input=pixels)
    try:
        return {name: step.op for name, step in kind.expand(kind.Config(), model).steps.items()}
    except Exception:
        return {}
