"""A plan as bytes and back, exactly: what the executor hands to its workers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from devices.engine import Batching, ModelInfo, PixelInput
from devices.spec import ImageSpec, ManySpec, RecordsSpec, TensorSpec, TensorsSpec
from flow.plan.value import Batch, Chain, Edge, Lane, Node, Plan, Pool, Ref, Sample, Sink, Stream

KINDS: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        Plan, Node, Stream, Sink, Chain, Lane, Edge, Sample, Pool, Ref, Batch, Batching, ModelInfo, PixelInput,
        ImageSpec, TensorSpec, TensorsSpec, RecordsSpec, ManySpec,
    )
}  # fmt: skip
TAG = "@"
MAX_BYTES = 64 << 20


class PlanError(Exception):
    """Bytes that are no plan: expected and got."""


def encode_plan(plan: Plan) -> bytes:
    """The plan as JSON. Every value of a plan keeps its type: tuples, mappings and paths are told apart."""
    return json.dumps(_plain(plan), allow_nan=False, separators=(",", ":")).encode()


def decode_plan(data: str | bytes) -> Plan:
    """The plan that `encode_plan` wrote. Raises PlanError; nothing but the plan's own types is ever made."""
    if len(data) > MAX_BYTES:
        raise PlanError(f"a plan: expected at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        plan = _value(json.loads(data))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PlanError(f"a plan: expected what encode_plan writes, got something else: {error}") from error
    if not isinstance(plan, Plan):
        raise PlanError(f"a plan: expected a Plan, got {type(plan).__name__}")
    return plan


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_plain(item) for item in value]
        case tuple():
            return {TAG: "tuple", "items": [_plain(item) for item in value]}
        case Path():
            return {TAG: "path", "path": str(value)}
        case Mapping():
            return {TAG: "map", "items": [[_plain(key), _plain(item)] for key, item in value.items()]}
        case _ if is_dataclass(value) and type(value).__name__ in KINDS:
            return {TAG: type(value).__name__} | {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            raise TypeError(f"expected a value that a plan may hold, got {type(value).__name__}")


def _value(plain: Any) -> Any:
    match plain:
        case list():
            return [_value(item) for item in plain]
        case {"@": "tuple", "items": list(items)}:
            return tuple(_value(item) for item in items)
        case {"@": "path", "path": str(path)}:
            return Path(path)
        case {"@": "map", "items": list(items)}:
            return {_value(key): _value(item) for key, item in items}
        case {"@": str(kind), **rest}:
            if kind not in KINDS:
                raise ValueError(f"expected one of {', '.join(KINDS)}, got {kind!r}")
            return KINDS[kind](**{str(name): _value(item) for name, item in rest.items()})
        case dict():
            raise ValueError(f"expected a mapping with {TAG!r}, got one with {', '.join(plain) or 'nothing'}")
        case _:
            return plain
