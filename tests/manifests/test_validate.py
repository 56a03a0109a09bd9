# ruff: noqa: E501 (whole messages)
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.document import Document, collect
from manifests.errors import Problem
from manifests.validate import validate

Broken = Any


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: pet\n", "nam: pet\n", "pet.yaml:12:1: nam: expected one of `apiVersion`, `kind`, `name`, `version`, `title`, `priority`, `inputs`, `models`, `graph`, `outputs`, `goals`, `tunable`, got `nam` - did you mean `name`?"),
        ("name: pet\n", "", "pet.yaml:10:1: name: expected the key `name`, got no such key"),
        ("license:", "licence:", "did you mean `license`?"),
        ("pad: 114", "padd: 114", "pet.yaml:6:40: input.padd: expected one of `format`, `fit`, `align`, `pad`"),
        ("rate: 10", "rat: 10", "goals.rat: expected one of `rate`, `latency_ms`, got `rat` - did you mean `rate`?"),
        ("model: detector", "modle: detector", "graph.boxes.modle: expected one of `op`, `in`, `model`, `config`, `deadline_ms`, got `modle` - did you mean `model`?"),
        ("overload: latest", "overlod: latest", "streams.front.overlod: expected one of"),
        ("on_error: restart", "on_eror: restart", "businesses.0.on_eror: expected one of `use`, `name`, `bind`, `set`, `on_error`, `enabled`"),
        ("businesses:", "busineses:", "pet.yaml:35:1: busineses: expected one of"),
        ("kind: Business", "kind: Busines", "pet.yaml:11:1: kind: expected one of `Model`, `Business`, `Device`, got `Busines` - did you mean `Business`?"),
        ("kind: Business", "kind: [Business]", "kind: expected one of `Model`, `Business`, `Device`, got a list of 1"),
        ("kind: Business\n", "", "kind: expected one of `Model`, `Business`, `Device`, got nothing"),
        ("priority: 50", "priority: 101", "priority: expected at most 100, got 101"),
        ("priority: 50", "priority: 5.5", "priority: expected a whole number, got 5.5"),
        ("priority: 50", "priority: '50'", "priority: expected a whole number, got `50` - remove the quotes"),
        ("priority: 50", "priority: true", "priority: expected a whole number, got true"),
        ("priority: 50", "priority:", "priority: expected a whole number, got nothing"),
        ("title: Pet detection", "title: 5", 'title: expected text, got 5 - put text that looks like a number in quotes: "5"'),
        ("version: 1.0.0", "version: 1.0", "version: expected text, got 1.0 - a version has three numbers"),
        ("version: 1.0.0", "version: 1.0.0-01", "version: expected a version such as `1.2.0`, got `1.0.0-01`"),
        ("name: pet\n", "name: Pet\n", "name: expected a name of lower-case letters"),
        ("inputs: {camera: image}", "inputs: [camera]", "inputs: expected a mapping, got a list of 1"),
        ("inputs: {camera: image}", "inputs: {camera: imge}", "inputs.camera: expected `image`, got `imge` - did you mean `image`?"),
        ("inputs: {camera: image}", "inputs: {Camera: image}", "inputs.Camera: expected a name of lower-case letters, digits, `-` and `_` (inside), at most 64, got the key `Camera`"),
        ("yolox-nano@^1", "yolox-nano@^^1", "models.detector: expected a version range such as"),
        ("yolox-nano@^1", "yolox-nano@", "models.detector: expected `name` or `name@range`"),
        ("labels: coco80", "labels: 80", "labels: expected text, or a list, got 80"),
        ("labels: coco80", "labels: [cat, 3]", "labels.1: expected text, got 3"),
        ("mean: [0, 0, 0]", "mean: [0, 0]", "input.mean: expected 3 number(s), one for each channel of bgr24, got a list of 2"),
        ("std: [1, 1, 1]", "std: [1, 0, 1]", "input.std.1: expected more than 0, got 0"),
        ("format: bgr24", "format: bgr", "input.format: expected one of `bgr24`, `rgb24`, `gray8`, got `bgr` - did you mean `bgr24`?"),
        ("overload: latest", "overload: latst", "streams.front.overload: expected one of `block`, `latest`, `drop_oldest`, or a mapping with the keys `every`, got `latst` - did you mean `latest`?"),
        ("overload: latest", "overload: {evry: 2}", "streams.front.overload.evry: expected `every`, got `evry` - did you mean `every`?"),
        ("overload: latest", "overload: {every: 0}", "streams.front.overload.every: expected at least 1, got 0"),
        ("overload: latest", "size: [640]", "streams.front.size.1: expected one more item, got the end of the list"),
        ("overload: latest", "size: [640, 0]", "streams.front.size.1: expected at least 1, got 0"),
        ("overload: latest", "size: [640, 480, 3]", "streams.front.size: expected at most 2 items, got a list of 3"),
        ("overload: latest", "loop: yes", "streams.front.loop: expected true or false, got `yes` - write true or false"),
        ("secret: FRONT_CAMERA", "secret: 'admin:hunter2'", "streams.front.secret: expected the name of an environment variable, such as `FRONT_CAMERA`, got something else - the secret itself never stands in a manifest"),
        ("businesses:", "businesses: 5\nx:", "businesses: expected a list, got 5"),
        ("- {use: pet@^1, bind: {camera: front}, set: {boxes.score: 0.5}, on_error: restart}", "- pet", "businesses.0: expected a mapping with the keys `use`, `name`, `bind`, `set`, `on_error`, `enabled`, got `pet`"),
        ("boxes:                            # node: an operator, what it reads, how it is set", "boxes: 1\n  other:", "graph.boxes: expected a mapping with the keys `op`, `in`, `model`, `config`, `deadline_ms`, got 1"),
        ("outputs: {pets: pets}", "outputs: {}", "outputs: expected at least 1 item(s), got an empty mapping"),
        ("source: rtsp://camera.local/1", "source: ''", "streams.front.source: expected at least 1 character(s), got ``"),
    ],
)  # fmt: skip
def test_in_plain_words(broken: Broken, old: str, new: str, message: str) -> None:
    lines = broken(old, new)
    assert any(message in line for line in lines), lines
    assert all(line.startswith("pet.yaml:") for line in lines)
    assert "hunter2" not in "".join(lines)


def test_all_problems_are_told(broken: Broken) -> None:
    assert len(broken("priority: 50", "priority: 500\ntitel: x\ngoal: {}")) == 3


def document(path: Path) -> list[Document]:
    return collect([path], [])


CONTRACT = [item.value for item in document(Path(__file__).parent / "contract.yaml")]
PATHS = [("name",), ("input",), ("labels",), ("graph",), ("graph", "boxes"), ("graph", "boxes", "in"), ("outputs",), ("goals",), ("streams",),
         ("streams", "front"), ("streams", "front", "overload"), ("businesses",), ("businesses", 0), ("businesses", 0, "set"), ("models",)]  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["every", "Every", "op", "str", "0", "a", "[key]", "é"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(CONTRACT), st.sampled_from(PATHS), PLAIN)
def test_any_value_anywhere_is_taken_or_explained(value: dict[str, Any], path: tuple[Any, ...], new: Any) -> None:
    changed = copy.deepcopy(value)
    place = changed
    for key in path[:-1]:
        place = place.get(key, {}) if isinstance(place, dict) else place[key]
    if isinstance(place, dict):
        place[path[-1]] = new
    problems: list[Problem] = []
    manifest = validate(Document("f", Path(), changed), problems)
    assert (manifest is None) == bool(problems)
    for problem in problems:
        assert problem.expected
        assert not any(word in str(problem) for word in ("literal[", "tuple[", "Every'", "input_value", "pydantic", "function-after"))
