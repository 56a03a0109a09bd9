"""From manifests to a bundle."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.bundle.archive import Opener, write
from manifests.bundle.bundle import FIRST, FOLDER, BundleDocument, Lock
from manifests.bundle.canonical import BundleError, digest, encode
from manifests.bundle.golden import CLIP, MAX_CLIP, Clip, check_files
from manifests.bundle.items import MANIFEST, MAX_BLOB, Blob, ItemDocument, Pair, check_path, plain, read_as
from manifests.document import Document, collect
from manifests.errors import ManifestError, Problem
from manifests.labels import NAMED
from manifests.loading import shelved
from manifests.model_file import locate, sha256
from manifests.schema.common import API_VERSION, Manifest
from manifests.schema.model import Model
from manifests.sync.desired import Item


@dataclass(slots=True)
class Pack:
    """A bundle in the making. `contents` holds bytes, or the file that they are read from, by digest."""

    items: dict[str, ItemDocument] = field(default_factory=dict)
    contents: dict[str, bytes | Path] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    locks: list[Lock] = field(default_factory=list)

    def put(self, data: bytes) -> Blob:
        """Adds some bytes."""
        blob = Blob.of(data)
        self.contents[blob.sha256], self.sizes[blob.sha256] = data, blob.size
        return blob

    def put_file(self, path: Path) -> Blob:
        """Adds a file. Raises OSError, and BundleError for one that is too large."""
        size = path.stat().st_size
        if size > MAX_BLOB:
            raise BundleError(f"{path}: expected at most {MAX_BLOB} bytes, got {size}")
        blob = Blob(sha256=sha256(path), size=size)
        self.contents[blob.sha256], self.sizes[blob.sha256] = path, size
        return blob

    def add(self, document: ItemDocument) -> Item:
        """Adds an item whose files were added."""
        self.put(document.encoded())
        self.items[document.item.digest] = document
        return document.item

    def golden(self, pair: Pair, business: ItemDocument, files: Mapping[str, bytes]) -> None:
        """Adds the golden clip of a business with its models. Raises BundleError for files that are none."""
        check_files(read_as(Clip, files.get(CLIP, b""), what=f"the golden clip of {business.name}", limit=MAX_CLIP), list(files))
        blobs = {path: self.put(data) for path, data in files.items()}
        clip = self.add(ItemDocument(kind="golden", name=business.name, version=business.version, files=blobs, pair=pair))
        self.locks = [lock.model_copy(update={"golden": clip.digest}) if lock.pair == pair else lock for lock in self.locks]

    def costs(self, pair: Pair, cost: Mapping[str, int]) -> None:
        """States what a business with its models takes."""
        self.locks = [lock.model_copy(update={"cost": dict(cost)}) if lock.pair == pair else lock for lock in self.locks]

    def document(self) -> BundleDocument:
        """`bundle.json`."""
        items = sorted(
            (document.item for document in self.items.values()), key=lambda item: (item.kind, item.name, item.version, item.digest)
        )
        entries = tuple(Blob(sha256=key, size=self.sizes[key]) for key in sorted(self.sizes))
        locks = tuple(sorted(self.locks, key=lambda lock: encode(plain(lock.pair))))
        return BundleDocument(entries=entries, items=tuple(items), locks=locks)

    def save(self, path: str | os.PathLike[str], update: bytes | None = None) -> str:
        """Writes the bundle, whole or not at all, and returns its identity; `update` is the signed desired state of an update file.

        Raises BundleError and OSError.
        """
        from manifests.bundle.archive import UPDATE

        first = self.document().encoded()
        entries: dict[str, bytes | Opener] = {
            FOLDER + key: content if isinstance(content, bytes) else opener(content) for key, content in self.contents.items()
        }
        entries[FIRST] = first
        if update is not None:
            entries[UPDATE] = update
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with part.open("xb") as stream:
                write(stream, entries, last=UPDATE if update is not None else "")
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        return digest(first)


def opener(path: Path) -> Opener:
    """Opens this file for reading."""
    return lambda: path.open("rb")


def pack(*paths: str | os.PathLike[str], costs: Mapping[str, Mapping[str, int]] | None = None) -> Pack:
    """Everything that these manifests (files, or folders of them) declare, version ranges resolved among them.

    `costs` are figures of a model by itself, by `model/NAME@VERSION`. Raises ManifestError with every problem, BundleError and OSError.
    """
    problems: list[Problem] = []
    catalog, devices = shelved(collect(paths, problems), problems)
    businesses = [entry for versions in catalog.businesses.entries.values() for entry in versions.values()]
    models = [entry for versions in catalog.models.entries.values() for entry in versions.values()]
    chosen = [catalog.models_of(entry, problems) for entry in businesses]
    for entry in models:
        catalog.resolve(entry, problems)
    if problems:
        raise ManifestError(dict.fromkeys(problems))
    if not (businesses or models or devices):
        raise BundleError("expected a manifest to pack, got none")
    made, figures = Pack(), costs or {}
    digests = {
        (entry.manifest.name, entry.manifest.version): made.add(_model(made, entry.manifest, entry.document, figures)).digest
        for entry in models
    }
    for wanted, found in zip(businesses, chosen, strict=True):
        manifest = wanted.manifest
        files = {MANIFEST: made.put(manifest_bytes(manifest))}
        document = ItemDocument(
            kind="business", name=manifest.name, version=manifest.version, models=manifest.models, files=files
        )  # fmt: skip
        item = made.add(document)
        pair = Pair(
            business=item.digest, models={alias: digests[each.manifest.name, each.manifest.version] for alias, each in found.items()}
        )
        made.locks.append(Lock(pair=pair))
    for device, _ in devices:
        files = {MANIFEST: made.put(manifest_bytes(device))}
        made.add(ItemDocument(kind="device", name=device.name, version=device.version, files=files))
    return made


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical manifest; defaults are left out, so that equal manifests have equal bytes."""
    value: dict[str, Any] = manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return encode({"apiVersion": API_VERSION, "kind": type(manifest).__name__, **value})


def _model(made: Pack, model: Model, document: Document, costs: Mapping[str, Mapping[str, int]]) -> ItemDocument:
    names = [model.file]
    if isinstance(model.labels, str) and model.labels not in NAMED:
        names.append(model.labels)
    if _is_file(model.license, document):
        names.append(model.license)
    files = {MANIFEST: made.put(manifest_bytes(model))}
    for name in names:
        path = Path(name).as_posix()
        try:
            check_path(path)
        except ValueError as error:
            raise ManifestError([document.problem("file", str(error), f"`{name}`", "rename the file")]) from None
        files[path] = made.put_file(locate(name, "file", document))
    cost = {"file-bytes": files[Path(model.file).as_posix()].size, **costs.get(f"model/{model.name}@{model.version}", {})}
    named = "" if _is_file(model.license, document) else model.license
    return ItemDocument(kind="model", name=model.name, version=model.version, files=files, license=named, cost=cost)


def _is_file(name: str, document: Document) -> bool:
    """Whether `license` names a file beside the manifest."""
    try:
        return bool(name) and bool(locate(name, "license", document))
    except ManifestError:
        return False
