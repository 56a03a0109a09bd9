"""What the cloud keeps of a bundle that is uploaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from manifests.bundle.bundle import Bundle
from manifests.bundle.items import MANIFEST, ItemDocument
from manifests.schema.business import Business, Tunable
from manifests.store.release import read_manifest
from manifests.sync.desired import Item
from manifests.trust.targets import Terms


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a bundle. `tunable`: of a business: `node.key`: what it may be set to."""

    document: ItemDocument
    tunable: Mapping[str, Tunable]

    @property
    def item(self) -> Item:
        return self.document.item

    @property
    def blobs(self) -> dict[str, int]:
        """sha256: bytes, of the document and of its files."""
        files = {blob.sha256: blob.size for blob in self.document.blobs}
        return {**files, self.item.digest: len(self.document.encoded())}

    @property
    def ram_bytes(self) -> int:
        """Memory that a second copy takes while both are loaded: as measured, or else at least the file."""
        return self.document.cost.get("ram-bytes", self.document.cost.get("file-bytes", 0))

    def terms(self, devices: tuple[str, ...] = ()) -> Terms:
        """What is signed with it. `devices`: of a device document: the keys of those it is for."""
        return Terms(uses=dict(self.document.models), tunable=dict(self.tunable), devices=devices if self.item.kind == "device" else ())


def entries(bundle: Bundle) -> list[Entry]:
    """Every item. Raises BundleError."""
    return [Entry(document, _tunable(bundle, document)) for document in bundle.items.values()]


def _tunable(bundle: Bundle, document: ItemDocument) -> Mapping[str, Tunable]:
    if document.kind != "business":
        return {}
    manifest = read_manifest(bundle.read(document.files[MANIFEST]), document.item.selector)
    return manifest.tunable if isinstance(manifest, Business) else {}
