"""An operator's settings in words, from the JSON Schema of its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of `config`: what it takes, and its default as JSON (or `required`)."""

    name: str
    takes: str
    default: str


def settings(config: type[BaseModel]) -> list[Setting]:
    """All settings of an operator, in the order they are declared."""
    schema = config.model_json_schema()
    defined = schema.get("$defs", {})
    return [
        Setting(name, words(each, defined), json.dumps(each["default"]) if "default" in each else REQUIRED)
        for name, each in schema.get("properties", {}).items()
    ]


def words(schema: Mapping[str, Any], defined: Mapping[str, Any]) -> str:
    """What a value of this JSON Schema is."""
    match schema:
        case {"$ref": str(reference)}:
            return words(defined[reference.rpartition("/")[2]], defined)
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            return " or ".join(dict.fromkeys(words(each, defined) for each in choices))
        case {"enum": list(values)}:
            return " | ".join(str(value) for value in values)
        case {"const": value}:
            return str(value)
        case {"type": "array", "prefixItems": list(items)}:
            return f"[{', '.join(words(item, defined) for item in items)}]"
        case {"type": "array"}:
            size = between(schema.get("minItems"), schema.get("maxItems"))
            return f"list of {size + ' ' if size else ''}{words(schema.get('items', {}), defined)}"
        case {"type": "object", "properties": Mapping() as named}:
            return "{" + ", ".join(f"{name}: {words(each, defined)}" for name, each in named.items()) + "}"
        case {"type": "object", "additionalProperties": Mapping() as each}:
            return f"mapping of names to {words(each, defined)}"
        case {"type": "null"}:
            return "null"
        case {"type": str(kind)}:
            above = f" > {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""
            below = f" < {schema['exclusiveMaximum']}" if "exclusiveMaximum" in schema else ""
            size = between(schema.get("minimum"), schema.get("maximum"))
            return f"{kind}{above}{below}{' ' + size if size else ''}"
    return "any value"


def between(least: float | None, most: float | None) -> str:
    """`0..1`, `>= 0`, `<= 1`, or nothing."""
    if least is not None and most is not None:
        return f"{least}..{most}"
    return f">= {least}" if least is not None else f"<= {most}" if most is not None else ""
