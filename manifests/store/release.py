"""What a generation runs, as a folder of manifests: derived from the store whenever it is needed, so that no cut can spoil it.

Models and golden clips are second names of their blobs. Manifests of businesses are written anew, in today's apiVersion, with each model
pinned to the one version that was resolved for it; the Device manifest is the one that declares the streams, with the businesses that the
desired state asks for. What is stored is never rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from manifests.bind import absolute
from manifests.bundle.canonical import BundleError, digest, encode
from manifests.bundle.golden import CLIP
from manifests.bundle.items import MANIFEST, ItemDocument
from manifests.bundle.pack import manifest_bytes
from manifests.document import Document, collect, decode
from manifests.errors import ManifestError, Problem, did_you_mean, one_of
from manifests.schema.business import Business
from manifests.schema.device import Device, UseManifest
from manifests.schema.model import Model
from manifests.store.generations import content
from manifests.store.store import Store
from manifests.sync.desired import Desired, DesiredBusiness, Item
from manifests.sync.runtime import Release
from manifests.text import json_text
from manifests.text.node import MAX_BYTES, expand
from manifests.validate import validate
from manifests.versions import Version, split_selector


class Mismatch(Exception):
    """A desired state whose parts do not fit together, or not this device: expected, got, what to do next."""


def release(store: Store, desired: Desired, device_file: Path | None, *, revision: int) -> Release:
    """The folder of this state, made where it is not there, and checked where it is. `revision` is what the engine will call it.

    Raises Mismatch, BundleError, OSError.
    """
    files, links = _files(store, desired, device_file)
    named = {path: digest(data) for path, data in files.items()} | dict(links)
    identity = digest(encode(named))
    folder = store.root / "releases" / identity
    for path in sorted({parent for name in named for parent in (folder / name).parents if parent.is_relative_to(folder)}):
        store.effects.mkdir(path)
    store.effects.mkdir(folder)
    for name, data in files.items():
        _write(store, folder / name, data)
    for name, sha256 in links.items():
        _link(store, folder / name, store.blobs.path(sha256))
    golden = {
        name.split("/")[1]: folder / name.rpartition("/")[0] for name in links if name.startswith("golden/") and name.endswith(f"/{CLIP}")
    }
    manifests = tuple(folder / name for name in sorted(named) if name.endswith(f"/{MANIFEST}"))
    return Release(revision=revision, digest=identity, manifests=manifests, golden=golden)


def identity(desired: Desired) -> str:
    """A digest of what decides what runs: equal for states between which nothing has to be switched."""
    return digest(content(desired))


def check(store: Store, desired: Desired, device_file: Path | None) -> None:
    """Whether a state whose item documents are in the store fits together and this device. Raises Mismatch, BundleError, OSError."""
    _manifests(store, desired, device_file)


def _files(store: Store, desired: Desired, device_file: Path | None) -> tuple[dict[str, bytes], Mapping[str, str]]:
    """path: content of what is written, and path: digest of what is linked."""
    device, businesses = _manifests(store, desired, device_file)
    files = {f"business-{name}/{MANIFEST}": manifest_bytes(manifest) for name, manifest in businesses.items()}
    if device is not None:
        files[f"device/{MANIFEST}"] = manifest_bytes(device)
    links: dict[str, str] = {}
    for business in desired.active:
        if not business.enabled:
            continue
        for model in business.models.values():
            document = store.generations.document(model)
            links |= {f"model-{model.digest[:16]}/{path}": blob.sha256 for path, blob in document.files.items()}
        if business.golden:
            clip = store.generations.document(business.golden)
            links |= {f"golden/{business.business.name}/{path}": blob.sha256 for path, blob in clip.files.items()}
    return files, links


def _manifests(store: Store, desired: Desired, device_file: Path | None) -> tuple[Device | None, dict[str, Business]]:
    """The Device manifest and the businesses, by name."""
    names = [business.business.name for business in desired.active]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Mismatch(f"desired revision {desired.revision}: expected one version of each business, got {', '.join(twice)} twice")
    _check_versions(desired)
    businesses = {each.business.name: _business(store, each) for each in desired.active if each.enabled}
    device = device_of(store, desired, device_file)
    if device is None:
        if businesses:
            expected = "a Device manifest that binds the businesses to streams"
            raise Mismatch(f"expected {expected}, got none on this device nor in revision {desired.revision}; give the agent one")
        return None, {}
    wanted = {each.business.name: each for each in desired.active if each.enabled}
    uses = tuple(use for each in wanted.values() for use in _uses(device, each))
    return device.model_copy(update={"businesses": uses}), businesses


def _check_versions(desired: Desired) -> None:
    """One content for each name and version."""
    seen: dict[str, Item] = {}
    for business in desired.active:
        for item in business.models.values():
            if seen.setdefault(item.selector, item) != item:
                raise Mismatch(
                    f"desired revision {desired.revision}: expected one content of {item.selector}, got two; raise the version of one"
                )


def _business(store: Store, wanted: DesiredBusiness) -> Business:
    """The business with its models pinned."""
    item = wanted.business
    document = store.generations.document(item)
    manifest = known_manifest(_file(store, document, MANIFEST), item.selector)
    if not isinstance(manifest, Business) or item.kind != "business":
        raise Mismatch(f"{item.selector}: expected a business, got a {type(manifest).__name__}")
    if set(wanted.models) != set(manifest.models):
        raise Mismatch(f"{item.selector}: expected its models {one_of(manifest.models)} to be chosen, got {one_of(wanted.models)}")
    for alias, selector in manifest.models.items():
        model = wanted.models[alias]
        name, taken = split_selector(selector)
        if model.kind != "model" or model.name != name or taken.choose([Version.parse(model.version)]) is None:
            raise Mismatch(
                f"{item.selector}: expected a model in its range {selector} as {alias}, got {model.selector}; keep the old version"
            )
        _check_model(store, model)
    if wanted.golden:
        _check_golden(store, wanted, wanted.golden)
    for key, value in wanted.set.items():
        if key not in manifest.tunable:
            hint = did_you_mean(key, manifest.tunable)
            raise Mismatch(
                f"{item.selector}: expected a setting that is tunable ({one_of(manifest.tunable)}), got `{key}`{hint and ' - ' + hint}"
            )
        if not manifest.tunable[key].takes(value):
            raise Mismatch(f"{item.selector}: {key}: expected {manifest.tunable[key]}, got {value!r}")
    pinned = {alias: f"{model.name}@{model.version}" for alias, model in wanted.models.items()}
    return manifest.model_copy(update={"models": pinned})


def _check_model(store: Store, item: Item) -> None:
    document = store.generations.document(item)
    manifest = known_manifest(_file(store, document, MANIFEST), item.selector)
    if not isinstance(manifest, Model) or (manifest.name, manifest.version) != (item.name, item.version):
        raise Mismatch(f"{item.selector}: expected the manifest of that model, got another one; pack it again")
    if manifest.file not in document.files:
        raise Mismatch(f"{item.selector}: expected {manifest.file} among its files, got {one_of(document.files)}; pack it again")


def _check_golden(store: Store, wanted: DesiredBusiness, golden: Item) -> None:
    pair = store.generations.document(golden).pair
    models = {alias: model.digest for alias, model in wanted.models.items()}
    if pair is None or (pair.business, dict(pair.models)) != (wanted.business.digest, models):
        raise Mismatch(
            f"{wanted.business.selector}: expected the golden clip of it with its models, got that of another pair; record it anew"
        )


def device_of(store: Store, desired: Desired, device_file: Path | None) -> Device | None:
    """The manifest that declares streams: the signed one of the desired state, the device's own file (its file sources absolute), or,
    where it has none, the one that the device came with."""
    factory = store.generations.role("factory")
    came_with = None if factory is None else factory.desired.document
    item = desired.document
    if item is None or item == came_with:
        item = came_with if device_file is None else None
    if item is not None:
        manifest = known_manifest(_file(store, store.generations.document(item), MANIFEST), item.selector)
        if not isinstance(manifest, Device) or item.kind != "device":
            raise Mismatch(f"{item.selector}: expected a Device manifest, got a {type(manifest).__name__}")
        return manifest
    if device_file is None:
        return None
    problems: list[Problem] = []
    found = [validate(document, problems) for document in collect([device_file], problems)]
    if problems or len(found) != 1 or not isinstance(found[0], Device):
        raise Mismatch(str(ManifestError(problems)) if problems else f"{device_file}: expected one Device manifest and nothing else")
    streams = {
        name: stream.model_copy(update={"source": absolute(stream.source, device_file.parent)}) for name, stream in found[0].streams.items()
    }
    return found[0].model_copy(update={"streams": streams})


def _uses(device: Device, wanted: DesiredBusiness) -> list[UseManifest]:
    """How this device binds the business: its own uses of it, in the version wanted, with what is set online on top."""
    item = wanted.business
    version = Version.parse(item.version)
    mine = [use for use in device.businesses if split_selector(use.use)[0] == item.name]
    if not mine:
        known = dict.fromkeys(split_selector(use.use)[0] for use in device.businesses)
        hint = did_you_mean(item.name, known) or f"add `use: {item.name}` with its streams to the Device manifest"
        raise Mismatch(f"{item.selector}: expected a business that {device.name} binds ({one_of(known)}), got another - {hint}")
    for use in mine:
        if split_selector(use.use)[1].choose([version]) is None:
            raise Mismatch(
                f"{item.selector}: expected a version that {device.name} takes (`{use.use}`), got {version}; change its Device manifest"
            )
    update = {"use": f"{item.name}@{item.version}", "enabled": True}
    return [use.model_copy(update={**update, "set": {**use.set, **wanted.set}}) for use in mine]


def read_manifest(data: bytes, what: str) -> Model | Business | Device:
    """A manifest from its stored bytes, brought to today's apiVersion in memory. Raises BundleError."""
    problems: list[Problem] = []
    try:
        if len(data) > MAX_BYTES:
            raise BundleError(f"{what}: expected a manifest of at most {MAX_BYTES} bytes, got {len(data)}")
        (root,) = json_text.compose(decode(data, what), what, problems)
        manifest = validate(Document(what, Path(), *expand(root)), problems)
    except ManifestError as error:
        raise BundleError(str(error)) from None
    if manifest is None or problems:
        raise BundleError(str(ManifestError(problems)))
    return manifest


known_manifest = lru_cache(maxsize=16)(read_manifest)
"""The same for what is in the store already, which is asked for at every step of an update."""


def _file(store: Store, document: ItemDocument, path: str) -> bytes:
    return store.blobs.read(document.files[path].sha256)


def _write(store: Store, path: Path, data: bytes) -> None:
    """A derived file. It is not synced: it is compared before it is used."""
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass
    part = path.with_name(f"{path.name}.part")
    store.effects.create(part)
    store.effects.write(part, data, 0)
    store.effects.rename(part, path)


def _link(store: Store, path: Path, blob: Path) -> None:
    """A second name of a blob."""
    try:
        if path.samefile(blob):
            return
        store.effects.unlink(path)
    except FileNotFoundError:
        pass
    store.effects.link(blob, path)
