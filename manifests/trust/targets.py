"""What the offline keys say of an item: its digest, and what may be done with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

from manifests.bundle.canonical import encode
from manifests.bundle.items import Pair
from manifests.schema.business import Tunable
from manifests.schema.common import Name, Selector, Strict
from manifests.sync.desired import Item
from manifests.sync.trust import Untrusted

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

FIELD = "ace"


class Terms(Strict):
    """Signed with an item. `uses`, `tunable`: of a business. `devices`: the public keys that a device document is for.

    `probation_s`: of a business or model, the least time in seconds that it must prove itself. `pair`: of a golden clip, what must not be
    activated without replaying it. Terms signed before there were these ask for neither.
    """

    uses: Annotated[dict[Name, Selector], Field(max_length=64)] = Field(default={})
    tunable: Annotated[dict[str, Tunable], Field(max_length=256)] = Field(default={})
    devices: Annotated[tuple[str, ...], Field(max_length=4096)] = ()
    probation_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    pair: Pair | None = None


def path_of(item: Item) -> str:
    """What the item is called among the targets. Of one version there may be several golden clips, one for each pair."""
    if item.kind == "golden":
        return f"golden/{item.name}/{item.digest}.json"
    return f"{item.kind}/{item.name}/{item.version}.json"


def target(item: Item, document: bytes, terms: Terms) -> TargetFile:
    """An item as a target. Raises ValueError where the document is not the item's."""
    from tuf.api.metadata import TargetFile

    made = TargetFile.from_data(path_of(item), document, ["sha256"])
    if made.hashes["sha256"] != item.digest:
        raise ValueError(f"{item.selector}: expected a document with sha256 {item.digest}, got {made.hashes['sha256']}")
    # TUF's canonical JSON has no fractions; as text they are signed as they are written.
    made.unrecognized_fields["custom"] = {FIELD: encode(terms.model_dump(mode="json", exclude_defaults=True)).decode()}
    return made


def terms_of(item: Item, targets: Mapping[str, TargetFile]) -> Terms:
    """The terms of an item that is signed now. Raises Untrusted where it is not, or is another content."""
    found = targets.get(path_of(item))
    if found is None:
        raise Untrusted(
            "withdrawn", f"{item.selector}: expected one of the targets that are signed now; it never was one, or was withdrawn"
        )
    if found.hashes.get("sha256") != item.digest:
        signed = found.hashes.get("sha256", "no sha256")
        raise Untrusted("digest", f"{item.selector}: expected the digest that is signed, {signed[:12]}, got {item.digest[:12]}")
    return _read(found, item.selector)


def clips_of(pair: Pair, name: str, targets: Mapping[str, TargetFile]) -> set[str]:
    """Digests of the signed golden clips of a business of this name that this pair must not be activated without. Raises Untrusted."""
    clips = ((path, target) for path, target in targets.items() if path.startswith(f"golden/{name}/"))
    return {str(target.hashes.get("sha256")) for path, target in clips if _read(target, path).pair == pair}


def _read(found: TargetFile, what: str) -> Terms:
    try:
        return Terms.model_validate(json.loads(found.custom.get(FIELD, "{}"))) if found.custom else Terms()
    except (ValidationError, ValueError, AttributeError, TypeError):
        raise Untrusted("terms", f"{what}: its signed terms cannot be read; this device's software may be too old for them") from None
