"""A plain document against its schema; what Pydantic finds is said in plain words, at the place where it stands."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from manifests.document import Document
from manifests.errors import Problem, did_you_mean, nearest, one_of, show
from manifests.migrate import migrate
from manifests.schema.business import Business
from manifests.schema.common import WORDS
from manifests.schema.device import Device
from manifests.schema.model import Model
from manifests.wording import choices, expectation

Manifest = Model | Business | Device
KINDS: dict[str, type[Manifest]] = {"Model": Model, "Business": Business, "Device": Device}


def validate(document: Document, problems: list[Problem]) -> Manifest | None:
    """The manifest, brought to the current apiVersion; None when problems were added."""
    if problem := migrate(document):
        problems.append(problem)
        return None
    kind = document.value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        problems.append(document.problem("kind", one_of(KINDS), show(kind), did_you_mean(kind, KINDS) if isinstance(kind, str) else ""))
        return None
    try:
        # As JSON, strictly: "50" is not a number and `yes` not a boolean, exactly as the JSON Schema says.
        return KINDS[kind].model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        problems += translate(error, KINDS[kind], document)
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where Pydantic's location leads: the path in the document, the value and the annotation there."""

    path: tuple[str, ...]
    value: Any
    annotation: Any
    in_union: bool


def translate(error: ValidationError, kind: type[BaseModel], document: Document) -> list[Problem]:
    """The problems of a validation error, in the order of the document."""
    found: dict[tuple[str, ...], Problem] = {}
    in_union: set[tuple[str, ...]] = set()
    suggested: set[tuple[str, ...]] = set()
    for item in error.errors(include_url=False):
        place = locate(kind, document.value, item["loc"])
        problem = explain(item, place, document)
        if item["type"] == "extra_forbidden" and (meant := nearest(place.path[-1], keys(place.annotation))):
            suggested.add((*place.path[:-1], meant))
        if place.in_union:
            in_union.add(place.path)
        if (other := found.get(place.path)) and problem.expected not in other.expected:
            problem = replace(other, expected=f"{other.expected}, or {problem.expected}", hint=other.hint or problem.hint)
        found[place.path] = problem
    missing = {path for path, problem in found.items() if problem.got == NO_KEY}
    kept = [
        problem
        for path, problem in found.items()
        if not (path in missing and path in suggested)
        and not (path in in_union and any(len(other) > len(path) and other[: len(path)] == path for other in found))
    ]
    return sorted(kept, key=lambda problem: (problem.position.line, problem.position.column))


NO_KEY = "no such key"


def explain(item: Any, place: Place, document: Document) -> Problem:
    """One of Pydantic's errors in plain words."""
    kind, context, path = item["type"], item.get("ctx", {}), ".".join(place.path)
    got, hint = show(place.value), ""
    match kind:
        case "extra_forbidden":
            names = keys(place.annotation)
            expected, got, hint = one_of(names), show(place.path[-1]), did_you_mean(place.path[-1], names)
        case "missing" if place.path[-1].isdigit():
            expected, got = "one more item", "the end of the list"
        case "missing":
            expected, got = f"the key `{place.path[-1]}`", NO_KEY
        case "literal_error":
            names = choices(item)
            expected, hint = one_of(names), did_you_mean(place.value, names) if isinstance(place.value, str) else ""
        case "string_pattern_mismatch":
            expected = WORDS.get(context["pattern"], f"text that matches {context['pattern']}")
        case "model_type" | "model_attributes_type":
            names = keys(place.annotation)
            expected = "a mapping" + (f" with the keys {', '.join(f'`{name}`' for name in names)}" if names else "")
        case "expected":
            expected = context["expected"]
        case _:
            expected = expectation(item)
    if item["loc"][-1:] == ("[key]",):
        got = f"the key {show(place.path[-1])}"
    elif place.path[-1:] == ("secret",) and isinstance(place.value, str):
        got, hint = "something else", "the secret itself never stands in a manifest"
    elif isinstance(place.value, int | float) and not isinstance(place.value, bool) and kind in ("string_type", "string_pattern_mismatch"):
        version = place.path[-1] == "version"
        hint = "a version has three numbers" if version else f'put text that looks like a number in quotes: "{place.value}"'
    elif kind == "bool_type" and place.value in ("yes", "no", "on", "off", "Yes", "No", "On", "Off"):
        hint = "write true or false"
    elif isinstance(place.value, str) and kind in ("int_type", "float_type") and re.fullmatch(r"[-+.0-9eE]+", place.value):
        hint = "remove the quotes"
    return document.problem(path, expected, got, hint)


def locate(kind: type[BaseModel], document: Any, location: tuple[int | str, ...]) -> Place:
    """Follows a location of Pydantic's, which names union members too, through the document.

    The annotation of the place of a missing or unknown key is that of the mapping that lacks or holds it.
    """
    annotation: Any = kind
    value: Any = document
    path: tuple[str, ...] = ()
    in_union = False
    for part in location:
        if part == "[key]":
            continue
        annotation = bare(annotation)
        if get_origin(annotation) in (Union, UnionType):
            annotation = member(annotation, str(part))
            in_union = True
            continue
        path = (*path, str(part))
        value = child(value, part)
        inner = below(annotation, part)
        if inner is None:
            return Place(path, value, annotation, in_union)
        annotation = inner
    return Place(path, value, annotation, in_union)


def child(value: Any, part: int | str) -> Any:
    """A member or item; None where there is none."""
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def bare(annotation: Any) -> Any:
    """Without metadata, and without `| None` where only one other type is left (Pydantic does not name that one)."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        others = [item for item in get_args(annotation) if item is not NoneType]
        if len(others) == 1:
            return bare(others[0])
    return annotation


def member(union: Any, tag: str) -> Any:
    """The member of a union that Pydantic calls `tag`."""
    for item in get_args(union):
        plain = bare(item)
        if tag.startswith(getattr(get_origin(plain) or plain, "__name__", "?")):
            return plain
    return Any


def below(annotation: Any, part: int | str) -> Any:
    """The annotation of a member or item; None for a key that a model does not have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return next((field.annotation for name, field in annotation.model_fields.items() if (field.alias or name) == part), None)
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    if get_origin(annotation) is tuple and isinstance(part, int):
        return arguments[part] if part < len(arguments) and arguments[part] is not Ellipsis else arguments[0]
    return Any


def keys(annotation: Any) -> list[str]:
    """The keys that a mapping of this annotation may have."""
    plain = bare(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return [field.alias or name for name, field in plain.model_fields.items()]
    return []
