"""What of a bundle is signed."""

from __future__ import annotations

from manifests.bundle.bundle import Bundle
from manifests.bundle.items import MANIFEST
from manifests.schema.business import Business
from manifests.store.release import read_manifest
from manifests.sync.desired import Item
from manifests.trust.targets import Terms


def signable(bundle: Bundle, devices: tuple[str, ...] = ()) -> dict[Item, tuple[bytes, Terms]]:
    """Each item with its document and terms. `devices`: the keys of those that device documents are for. Raises BundleError, OSError."""
    found = {}
    for document in bundle.items.values():
        tunable = {}
        if document.kind == "business":
            manifest = read_manifest(bundle.read(document.files[MANIFEST]), document.item.selector)
            tunable = manifest.tunable if isinstance(manifest, Business) else {}
        meant_for = devices if document.kind == "device" else ()
        found[document.item] = (document.encoded(), Terms(uses=document.models, tunable=tunable, devices=meant_for))
    return found
