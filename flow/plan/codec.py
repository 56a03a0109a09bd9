"""A plan as bytes and back, exactly: what the executor hands to its workers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
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
FIELDS: Mapping[type, tuple[str, ...]] = {kind: tuple(field.name for field in fields(kind)) for kind in KINDS.values()}
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
    kind = type(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return {TAG: "tuple", "items": [_plain(item) for item in value]}
    if kind in FIELDS:
        plain: dict[str, Any] = {TAG: kind.__name__}
        for name in FIELDS[kind]:
            plain[name] = _plain(getattr(value, name))
        return plain
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return {TAG: "path", "path": str(value)}
    if isinstance(value, Mapping):
        return {TAG: "map", "items": [[_plain(key), _plain(item)] for key, item in value.items()]}
    raise TypeError(f"expected a value that a plan may hold, got {kind.__name__}")


def _value(plain: Any) -> Any:
    kind = type(plain)
    if kind is list:
        return [_value(item) for item in plain]
    if kind is not dict:
        return plain
    tag = plain.get(TAG)
    if tag == "tuple":
        return tuple([_value(item) for item in _items(plain)])
    if tag == "map":
        return {_value(key): _value(item) for key, item in _items(plain)}
    if tag == "path":
        return Path(plain["path"])
    if isinstance(tag, str) and tag in KINDS:
        return KINDS[tag](**{name: _value(item) for name, item in plain.items() if name != TAG})
    if isinstance(tag, str):
        raise ValueError(f"expected one of {', '.join(KINDS)}, got {tag!r}")
    raise ValueError(f"expected a mapping with {TAG!r}, got one with {', '.join(plain) or 'nothing'}")


def _items(plain: dict[str, Any]) -> list[Any]:
    items = plain["items"]
    if type(items) is not list:
        raise ValueError(f"expected a list of items, got {type(items).__name__}")
    return items
