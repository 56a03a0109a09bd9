"""What the given manifests offer: models and businesses by name and version, chosen by selector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from manifests.deployment import ResolvedModel
from manifests.document import Document
from manifests.errors import Problem, did_you_mean, one_of
from manifests.model_file import resolve_model
from manifests.schema.business import Business
from manifests.schema.common import Manifest
from manifests.schema.model import Model
from manifests.versions import Version, split_selector

Offered = TypeVar("Offered", Model, Business)


@dataclass(frozen=True, slots=True)
class Entry(Generic[Offered]):
    """A manifest with the document that it was read from."""

    manifest: Offered
    document: Document


@dataclass(slots=True)
class Shelf(Generic[Offered]):
    """All manifests of one kind."""

    kind: str
    entries: dict[str, dict[Version, Entry[Offered]]] = field(default_factory=dict)

    def add(self, entry: Entry[Offered], problems: list[Problem]) -> None:
        """Two manifests of one name and version must say the same; several files may then carry the model that they share."""
        versions = self.entries.setdefault(entry.manifest.name, {})
        version = Version.parse(entry.manifest.version)
        other = versions.setdefault(version, entry)
        if other is not entry and not same(other, entry):
            expected = f"one {self.kind} {entry.manifest.name} {version}"
            got = f"another one, unlike that of {other.document.at('')}"
            problems.append(entry.document.problem("version", expected, got, "raise the version of the newer one"))

    def select(self, selector: str, document: Document, path: str, problems: list[Problem]) -> Entry[Offered] | None:
        """The highest version that the selector takes; None when a problem was added."""
        name, wanted = split_selector(selector)
        if name not in self.entries:
            hint = did_you_mean(name, self.entries) or f"give the path of its manifest (kind: {self.kind.capitalize()}) as well"
            expected = f"a {self.kind}: {one_of(self.entries)}" if self.entries else f"a {self.kind} among the given manifests"
            problems.append(document.problem(path, expected, f"`{selector}`", hint))
            return None
        versions = self.entries[name]
        chosen = wanted.choose(versions)
        if chosen is None:
            pre = max((version for version in versions if version.pre), default=None)
            hint = (
                f"a pre-release is taken only when it is named: {name}@{pre}" if pre else "change the range, or add that version's manifest"
            )
            got = ", ".join(map(str, sorted(versions)))
            problems.append(document.problem(path, f"a version of {name} in `{wanted}`", got, hint))
            return None
        return versions[chosen]


def same(one: Entry[Offered], other: Entry[Offered]) -> bool:
    """Equal manifests, and where they name a file, of the same folder."""
    if one.manifest != other.manifest:
        return False
    return not isinstance(one.manifest, Model) or one.document.folder.resolve() == other.document.folder.resolve()


@dataclass(slots=True)
class Catalog:
    """Models and businesses; model files are found and hashed once, when first chosen. `lock` records what selectors led to."""

    models: Shelf[Model] = field(default_factory=lambda: Shelf("model"))
    businesses: Shelf[Business] = field(default_factory=lambda: Shelf("business"))
    lock: dict[str, str] = field(default_factory=dict)
    resolved: dict[int, ResolvedModel | None] = field(default_factory=dict)

    def resolve(self, entry: Entry[Model], problems: list[Problem]) -> ResolvedModel | None:
        """The model with its file; None when its files are missing or wrong, which is reported once."""
        key = id(entry)
        if key not in self.resolved:
            self.resolved[key] = resolve_model(entry.manifest, entry.document, problems)
        return self.resolved[key]

    def take(self, selector: str, entry: Entry[Business]) -> None:
        """Records that this business was chosen."""
        self.lock[f"business/{selector}"] = f"{entry.manifest.version}@{digest(entry.manifest)}"

    def models_of(self, entry: Entry[Business], problems: list[Problem]) -> Mapping[str, ResolvedModel]:
        """The models of a business, by its own names for them."""
        found = {}
        for name, selector in entry.manifest.models.items():
            chosen = self.models.select(selector, entry.document, f"models.{name}", problems)
            if chosen and (model := self.resolve(chosen, problems)):
                found[name] = model
                self.lock[f"model/{selector}"] = f"{model.manifest.version}@{model.digest}"
        return found


def digest(manifest: Manifest) -> str:
    """sha256 of a manifest's content, hex: equal for manifests that say the same, however they are written."""
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
