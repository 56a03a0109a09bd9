"""An operator's settings: what the manifest says, changed by what the device sets, checked against the operator's Config."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from flow.plan.problems import Problems
from manifests.deployment import Use
from manifests.errors import did_you_mean, one_of, show
from manifests.wording import choices, expectation

LISTS = frozenset({"tuple_type", "list_type", "set_type", "frozen_set_type", "too_short", "too_long"})
"""Errors of Pydantic's about a list as a whole."""


def raw_settings(use: Use, node: str, problems: Problems) -> dict[str, Any]:
    """The node's `config` with the changes of `set` put in. A change that goes through a value that is no mapping is a problem."""
    config: dict[str, Any] = copy.deepcopy(dict(use.business.graph[node].config))
    for key, value in use.set.items():
        name, _, rest = key.partition(".")
        if name != node or not all(rest.split(".")):
            continue
        *way, last = rest.split(".")
        place = config
        for step in way:
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                problems.add(use.at(f"set.{key}"), f"set.{key}", expected=f"{step!r} to be a mapping", got=show(inner))
                break
            place = inner
        else:
            place[last] = copy.deepcopy(value)
    return config


def check_set_names(use: Use, problems: Problems) -> None:
    """`set` keys are `node.key` of nodes that exist."""
    graph = use.business.graph
    for key in use.set:
        node, dot, rest = key.partition(".")
        if node not in graph:
            hint = did_you_mean(node, graph)
            expected = f"a node of {use.business.name}: {one_of(graph)}"
            problems.add(use.at(f"set.{key}"), f"set.{key}", expected=expected, got=node, hint=hint)
        elif not dot or not all(rest.split(".")):
            problems.add(use.at(f"set.{key}"), f"set.{key}", expected="node.key", got=key)


def validated(operator: type, raw: Mapping[str, Any], use: Use, node: str, problems: Problems) -> Any:
    """The operator's frozen Config, or None after problems at the lines of the settings that are wrong."""
    config: type[BaseModel] = operator.Config  # type: ignore[attr-defined]
    try:
        return config.model_validate(dict(raw))
    except ValidationError as error:
        found = error.errors(include_url=False)
        for each in found:
            # A list is told to be too short when its items are wrong: then only they are.
            if not any(len(other["loc"]) > len(each["loc"]) and other["loc"][: len(each["loc"])] == each["loc"] for other in found):
                _explain(each, operator, use, node, problems)
    return None


def _explain(error: Mapping[str, Any], operator: type, use: Use, node: str, problems: Problems) -> None:
    config: type[BaseModel] = operator.Config  # type: ignore[attr-defined]
    way = tuple(map(str, error["loc"]))
    path = _written_at(use, node, way)
    got, hint = show(error["input"]), ""
    match error["type"]:
        case "extra_forbidden":
            fields = _fields_around(config, way)
            expected, got, hint = one_of(fields) if fields else "no settings", way[-1], did_you_mean(way[-1], fields)
        case "missing" if way[-1].isdigit():
            expected, got = "one more item", "the end of the list"
        case "missing":
            expected, got = f"a value for {way[-1]!r}", "none"
        case "literal_error":
            names = choices(error)
            expected, hint = one_of(names), did_you_mean(str(error["input"]), names)
        case _:
            expected = expectation(error)
    if not hint and (any(map(str.isdigit, way)) or error["type"] in LISTS):
        hint = _whole(operator, way[0])
    problems.add(use.at(path), path, expected=expected, got=got, hint=hint)


def _whole(operator: type, setting: str) -> str:
    """What the setting takes as a whole: `line` is [[number, number], [number, number]]."""
    from ops.describe import describe

    return next((f"`{each.name}` is {each.type}" for each in describe(operator).settings if each.name == setting), "")


def _written_at(use: Use, node: str, way: tuple[str, ...]) -> str:
    """The path in the manifest that a setting was read from: the device's `set` where that wrote it."""
    wanted = ".".join((node, *way))
    for key in use.set:
        if wanted == key or wanted.startswith(f"{key}."):
            return f"set.{key}"
    return ".".join(("graph", node, "config", *way))


def _fields_around(config: type[BaseModel], way: tuple[str, ...]) -> list[str]:
    """Names that the mapping holding the last step of `way` may have."""
    model: Any = config
    for step in way[:-1]:
        field = model.model_fields.get(step)
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return [field.alias or name for name, field in model.model_fields.items()]
