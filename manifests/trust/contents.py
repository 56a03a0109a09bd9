"""What of a bundle is signed."""

from __future__ import annotations

from manifests.bundle.bundle import Bundle
from manifests.bundle.items import MANIFEST
from manifests.schema.business import Business
from manifests.store.release import read_manifest
from manifests.sync.desired import Item
from manifests.trust.targets import Terms

LEAST_PROBATION_S = 5.0
"""Unless whoever signs says otherwise: whoever steals the online key cannot have a new version prove nothing at all."""


def signable(
    bundle: Bundle, devices: tuple[str, ...] = (), *, probation_s: float = LEAST_PROBATION_S
) -> dict[Item, tuple[bytes, Terms]]:  # fmt: skip
    """Each item with its document and terms. `devices`: the keys of those that device documents are for; `probation_s`: the least time that
    a business or model must prove itself. A golden clip must be replayed before what it was recorded with. Raises BundleError, OSError.
    """
    found = {}
    for document in bundle.items.values():
        tunable = {}
        if document.kind == "business":
            manifest = read_manifest(bundle.read(document.files[MANIFEST]), document.item.selector)
            tunable = manifest.tunable if isinstance(manifest, Business) else {}
        terms = Terms(
            uses=document.models,
            tunable=tunable,
            devices=devices if document.kind == "device" else (),
            probation_s=probation_s if document.kind in ("business", "model") else 0.0,
            pair=document.pair,
        )
        found[document.item] = (document.encoded(), terms)
    return found
