"""Manifests from files, folders and Python, resolved to one deployment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from manifests.bind import Streams, Wanted, sources
from manifests.catalog import Catalog, Entry
from manifests.deployment import Deployment, Use
from manifests.document import Document, built, collect
from manifests.errors import ManifestError, Problem, did_you_mean, one_of, show
from manifests.graph import check_graph
from manifests.position import PYTHON, Position
from manifests.schema.business import Business
from manifests.schema.device import Device, UseManifest
from manifests.schema.model import Model
from manifests.validate import validate


def load(
    *paths: str | os.PathLike[str] | Model | Business | Device,
    bind: Mapping[str, str | os.PathLike[str]] | None = None,
    unbound: str | None = None,
    base: str | os.PathLike[str] = ".",
) -> Deployment:
    """Loads manifests and resolves everything they name.

    `paths` are files, folders (those of their *.yaml, *.yml and *.json that mean to be manifests) and manifests built in Python; together
    they make one deployment.
    With a Device manifest that is what the device runs; without one, every business given, on streams made from `bind`.

    `bind` maps an input (`camera`, or `pet.camera` for one business only) or a stream of the Device manifest to a source; relative
    files start from the current folder. `unbound` is the source of inputs that nothing binds, for checks that run nothing. `base` is
    the folder that the files of manifests built in Python start from.

    Relative files among the sources of the result are absolute. Raises ManifestError with every problem found.
    """
    problems: list[Problem] = []
    skipped: list[str] = []
    documents = collect((path for path in paths if not isinstance(path, BaseModel)), problems, skipped)
    for manifest in paths:
        if isinstance(manifest, BaseModel):
            try:
                documents.append(built(manifest, Path(base)))
            except ManifestError as error:
                problems += error.problems
    if not paths:
        problems.append(Problem(PYTHON, "", "at least one path or manifest", "none"))
    catalog, devices = shelved(documents, problems)
    try:
        here = Path.cwd()
    except OSError as error:
        raise ManifestError([Problem(Position("."), "", "a current folder", error.strerror or str(error))]) from None
    given = sources(bind or {}, here, problems)
    stop_at(problems)
    chosen: tuple[Device | None, Document | None] = devices[0] if devices else (None, None)
    return replace(resolve(catalog, *chosen, given, unbound, problems), skipped=tuple(skipped))


def shelved(documents: Iterable[Document], problems: list[Problem]) -> tuple[Catalog, list[tuple[Device, Document]]]:
    """What these documents are, each checked by itself: models and businesses, and at most one device."""
    catalog = Catalog()
    devices: list[tuple[Device, Document]] = []
    for document in documents:
        match validate(document, problems):
            case Model() as model:
                catalog.models.add(Entry(model, document), problems)
            case Business() as business:
                problems += check_graph(business, document)
                catalog.businesses.add(Entry(business, document), problems)
            case Device() as device:
                devices.append((device, document))
            case None:
                pass
    problems += [document.problem("kind", "one Device manifest", "a second one") for _, document in devices[1:]]
    return catalog, devices


def resolve(
    catalog: Catalog, device: Device | None, document: Document | None, given: dict[str, str], unbound: str | None, problems: list[Problem]
) -> Deployment:
    """The deployment of a device, or of every business of the catalog. Raises ManifestError."""
    wanted = by_device(catalog, device, document, problems) if device and document else by_catalog(catalog, problems)
    models = [catalog.models_of(Entry(item.business, item.document), problems) for item in wanted]
    if not wanted and not device:
        for versions in catalog.models.entries.values():
            for entry in versions.values():
                catalog.resolve(entry, problems)
    for item in wanted:
        problems += check_set(item)
    streams = Streams(device.streams if device else {}, document, given, unbound, problems)
    binds = streams.bind_all(wanted)
    stop_at(problems)
    return Deployment(
        device=device.name if device else "local",
        streams=streams.streams,
        uses=tuple(use_of(item, bound, chosen) for item, bound, chosen in zip(wanted, binds, models, strict=True)),
        stream_positions=streams.positions,
        lock=catalog.lock,
        base=document.folder.absolute() if document else Path.cwd(),
    )


def stop_at(problems: list[Problem]) -> None:
    """Raises ManifestError when there are problems; the same one is told once."""
    if problems:
        raise ManifestError(dict.fromkeys(problems))


def by_catalog(catalog: Catalog, problems: list[Problem]) -> list[Wanted]:
    """Every business once."""
    wanted = []
    for name, versions in catalog.businesses.entries.items():
        if len(versions) > 1:
            document = versions[max(versions)].document
            got = " and ".join(map(str, sorted(versions)))
            problems.append(document.problem("version", f"one version of {name}", got, "a Device manifest chooses between versions"))
            continue
        (entry,) = versions.values()
        catalog.take(name, entry)
        wanted.append(Wanted(name, entry.manifest, entry.document, UseManifest(use=name), entry.document, ""))
    return wanted


def by_device(catalog: Catalog, device: Device, document: Document, problems: list[Problem]) -> list[Wanted]:
    """The enabled businesses of a device."""
    wanted: dict[str, Wanted] = {}
    for index, use in enumerate(device.businesses):
        path = f"businesses.{index}"
        entry = catalog.businesses.select(use.use, document, f"{path}.use", problems) if use.enabled else None
        if entry is None:
            continue
        catalog.take(use.use, entry)
        name = use.name or entry.manifest.name
        if name in wanted:
            first = document.at(f"{wanted[name].path}.use")
            hint = f"`{name}` stands at {first} already; call this one `name: {name}-2`"
            problems.append(document.problem(f"{path}.use", "every name once", show(name), hint))
            continue
        inputs = entry.manifest.inputs
        problems += [
            document.problem(f"{path}.bind.{key}", f"an input of {name}: {one_of(inputs)}", show(key), did_you_mean(key, inputs))
            for key in use.bind
            if key not in inputs
        ]
        business = entry.manifest.model_copy(update={"name": name})
        wanted[name] = Wanted(name, business, entry.document, use, document, path)
    return list(wanted.values())


def check_set(wanted: Wanted) -> list[Problem]:
    """Keys of `set` are `node.key`; whether the operator has that key is checked with its config."""
    problems = []
    graph = wanted.business.graph
    for key in wanted.use.set:
        node, dot, rest = key.partition(".")
        path = f"{wanted.path}.set.{key}"
        if node not in graph:
            expected = f"a node of {wanted.name}: {one_of(graph)}"
            problems.append(wanted.asker.problem(path, expected, show(key), did_you_mean(node, graph)))
        elif not dot or "" in rest.split("."):
            problems.append(wanted.asker.problem(path, "`node.key`", show(key), f"such as `{node}.score`"))
        elif clash := next((other for other in wanted.use.set if key.startswith(other + ".")), None):
            problems.append(wanted.asker.problem(path, f"a key that `{clash}` does not set already", show(key)))
    return problems


def use_of(wanted: Wanted, bind: dict[str, str], models: Mapping[str, Any]) -> Use:
    """One business as it runs, with the positions of both documents."""
    positions: dict[str, Position] = dict(wanted.document.positions)
    if wanted.path:
        for section in ("set", "bind"):
            prefix = f"{wanted.path}.{section}."
            moved = {path: position for path, position in wanted.asker.positions.items() if path.startswith(prefix)}
            positions |= {f"{section}.{path[len(prefix) :]}": position for path, position in moved.items()}
    return Use(
        business=wanted.business,
        bind=bind,
        models=models,
        set=wanted.use.set,
        on_error=wanted.use.on_error,
        position=wanted.document.at(""),
        positions=positions,
    )
