"""Businesses built in Python, nodes wired by reference; and manifests written as YAML.

pet = manifests.build("pet", version="1.0.0", title="Pet detection")
camera = pet.input("camera")
detector = pet.model("detector", "yolox-nano@^1")
boxes = pet.node("boxes", "detect.yolox", image=camera, model=detector, score=0.35)
pet.output("pets", pet.node("pets", "track.byte", detections=boxes))
print(manifests.dump(pet.business()))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.document import built
from manifests.errors import ManifestError, Problem, show
from manifests.graph import check_graph
from manifests.position import PYTHON
from manifests.schema.business import Business
from manifests.schema.common import API_VERSION
from manifests.schema.device import Device
from manifests.schema.model import Model
from manifests.text.scalar import is_text
from manifests.validate import validate


@dataclass(frozen=True, slots=True)
class Wire:
    """What a node can read: an input, a node, or (`node["port"]`) one port of a node."""

    builder: Builder
    name: str

    def __getitem__(self, port: str) -> Wire:
        return Wire(self.builder, f"{self.name}.{port}")


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model of the business being built."""

    builder: Builder
    name: str


class Builder:
    """A business in the making. What is wrong with it is said by `business()`, but for mixed-up references, which raise at once."""

    def __init__(self, name: str, *, version: str, **header: Any) -> None:
        head = {"apiVersion": API_VERSION, "kind": "Business", "name": name, "version": version}
        self.value: dict[str, Any] = {**head, **header, "inputs": {}, "models": {}, "graph": {}, "outputs": {}}

    def input(self, name: str) -> Wire:
        """Declares a stream of pictures that the business needs."""
        self.add("inputs", name, "image")
        return Wire(self, name)

    def model(self, name: str, selector: str) -> ModelReference:
        """Declares a model: `selector` is `name@range`."""
        self.add("models", name, selector)
        return ModelReference(self, name)

    def node(
        self,
        name: str,
        op: str,
        /,
        *,
        model: ModelReference | None = None,
        deadline_ms: float | None = None,
        config: Mapping[str, Any] | None = None,
        **ports_and_settings: Any,
    ) -> Wire:
        """Adds an operator. Keywords that are wires are what it reads, all others are its config; `config` takes keys of any name."""
        node: dict[str, Any] = {"op": op}
        wires = {key: self.own(wire).name for key, wire in ports_and_settings.items() if isinstance(wire, Wire)}
        settings = {key: value for key, value in ports_and_settings.items() if not isinstance(value, Wire)} | dict(config or {})
        if wires:
            node["in"] = wires
        if model is not None:
            node["model"] = self.own(model).name
        if settings:
            node["config"] = settings
        if deadline_ms is not None:
            node["deadline_ms"] = deadline_ms
        self.add("graph", name, node)
        return Wire(self, name)

    def output(self, name: str, wire: Wire) -> None:
        """Names what a node gives as a result of the business."""
        self.add("outputs", name, self.own(wire).name)

    def business(self) -> Business:
        """The business. Raises ManifestError with everything that is wrong with it."""
        document = built(self.value, Path())
        problems: list[Problem] = []
        business = validate(document, problems)
        if isinstance(business, Business):
            problems += check_graph(business, document)
            if not problems:
                return business
        raise ManifestError(problems)

    def add(self, section: str, name: str, value: Any) -> None:
        if name in self.value[section]:
            raise ManifestError([Problem(PYTHON, f"{section}.{name}", "every name once", f"{show(name)} twice")])
        self.value[section][name] = value

    def own(self, reference: Any) -> Any:
        if getattr(reference, "builder", None) is not self:
            expected = f"what input(), node() or model() of {self.value['name']} gave"
            got = f"one of {reference.builder.value['name']}" if isinstance(reference, Wire | ModelReference) else show(reference)
            raise ManifestError([Problem(PYTHON, "", expected, got)])
        return reference


def build(name: str, *, version: str, **header: Any) -> Builder:
    """Begins a business; `header` may set title, priority and goals."""
    return Builder(name, version=version, **header)


def dump(*manifests: Model | Business | Device) -> str:
    """The manifests as YAML that `load` reads back as equal; defaults are left out. Raises ManifestError for values YAML cannot hold."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what would not be read back as the same text."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        plain = value.isprintable() and is_text(value)
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    Dumper.add_representer(str, text)
    documents = []
    for manifest in manifests:
        full = built(manifest, Path()).value
        kept = manifest.model_dump(by_alias=True, exclude_defaults=True)
        documents.append({"apiVersion": full["apiVersion"], "kind": full["kind"], **shortened(full, kept)})
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def shortened(full: Any, kept: Any) -> Any:
    """The plain value `full` with only those keys of its mappings that `kept` has too."""
    if isinstance(full, dict) and isinstance(kept, dict):
        return {key: shortened(value, kept[key]) for key, value in full.items() if key in kept}
    if isinstance(full, list) and isinstance(kept, list | tuple):
        return [shortened(value, other) for value, other in zip(full, kept, strict=True)]
    return full
