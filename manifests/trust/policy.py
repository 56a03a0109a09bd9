"""What whoever signs a desired state may decide. Everything else was decided offline, or on the device itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from manifests.bundle.items import Pair
from manifests.errors import one_of
from manifests.sync.desired import ANY_DEVICE, Desired, DesiredBusiness, Item
from manifests.sync.trust import Untrusted
from manifests.trust.targets import Terms, clips_of, terms_of
from manifests.versions import Version, split_selector

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

MOST_AHEAD = 1 << 32
"""Whoever stole the online key must not use up all numbers there are: nothing that the rightful owner signs later would be newer."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the device holds: the newest revision it accepted, its reset epoch, the items that run now (with its device document), those
    it came with, and which businesses run with which models.

    Items of the factory image need no signature: whoever can change that image needs none.
    """

    device: str
    revision: int = 0
    reset_epoch: int = 0
    running: frozenset[str] = frozenset()
    factory: frozenset[str] = frozenset()
    pairs: tuple[Pair, ...] = ()


def check(
    desired: Desired, held: Held, targets: Mapping[str, TargetFile], *, fresh: bool, expired: str = "", offline: bool = False
) -> None:
    """Raises Untrusted where a key oversteps. `fresh`: the signed targets have not expired; `expired` says which has.

    `offline`: it was signed offline, so that it may be for every device, and bring a device document for this one.
    """
    if desired.device != held.device and not (offline and desired.device == ANY_DEVICE):
        raise Untrusted("device", f"expected a desired state for this device ({held.device[:12]}), got one for {desired.device[:12]}")
    if desired.revision < held.revision:
        raise Untrusted("rollback", f"expected revision {held.revision} or a newer one, got {desired.revision}")
    if desired.reset_epoch < held.reset_epoch:
        raise Untrusted("rollback", f"expected reset epoch {held.reset_epoch} or later, got {desired.reset_epoch}")
    if not offline and max(desired.revision - held.revision, desired.reset_epoch - held.reset_epoch) > MOST_AHEAD:
        raise Untrusted(
            "ahead", f"expected a revision and a reset epoch at most {MOST_AHEAD} after {held.revision} and {held.reset_epoch}, "
            f"got {desired.revision} and {desired.reset_epoch}"
        )  # fmt: skip
    named = [
        *(item for each in desired.active for item in items_of(each)),
        *desired.staged,
        *([desired.document] if desired.document else []),
    ]
    new = next((item for item in named if item.digest not in held.running | held.factory), None)
    if new is not None and not fresh:
        raise Untrusted(
            "expired", f"{new.selector} does not run here now, and {expired or 'the signed targets have expired'}: nothing new is installed"
        )
    if desired.document is not None:
        _check_document(desired.document, held, targets, offline)
    for business in desired.active:
        _check_business(business, held, targets)
        if not offline and business.enabled and pair_of(business) not in held.pairs:
            _check_proof(business, desired.probation_s, held, targets)
    for item in desired.staged:
        _terms(item, held, targets)


def items_of(business: DesiredBusiness) -> tuple[Item, ...]:
    """Everything that this business needs."""
    return (business.business, *business.models.values(), *((business.golden,) if business.golden else ()))


def pair_of(business: DesiredBusiness) -> Pair:
    """What a golden clip of it is recorded with."""
    return Pair(business=business.business.digest, models={alias: model.digest for alias, model in business.models.items()})


def _check_proof(desired: DesiredBusiness, probation_s: float, held: Held, targets: Mapping[str, TargetFile]) -> None:
    """What does not run yet must prove itself as far as was signed; more may be asked of it."""
    for item in (desired.business, *desired.models.values()):
        if probation_s < (least := _terms(item, held, targets).probation_s):
            raise Untrusted("probation", f"{item.selector}: expected a probation of {least:g} s or more, got {probation_s:g} s")
    clips = clips_of(pair_of(desired), desired.business.name, targets)
    if clips and (desired.golden is None or desired.golden.digest not in clips):
        got = "none" if desired.golden is None else "another one"
        raise Untrusted("golden", f"{desired.business.selector}: expected the golden clip that was signed for it and its models, got {got}")


def _check_document(item: Item, held: Held, targets: Mapping[str, TargetFile], offline: bool) -> None:
    if item.kind != "device":
        raise Untrusted("document", f"{item.selector}: expected a device document")
    stays = item.digest in held.running - held.factory
    if held.device not in _terms(item, held, targets).devices and not offline and not stays:
        raise Untrusted("document", f"{item.selector}: it declares sources and sinks, and was not signed for this device")


def _check_business(desired: DesiredBusiness, held: Held, targets: Mapping[str, TargetFile]) -> None:
    item = desired.business
    if item.kind != "business":
        raise Untrusted("kind", f"{item.selector}: expected a business")
    terms = _terms(item, held, targets)
    unsigned = item.digest in held.factory and not terms.uses
    for alias, model in desired.models.items():
        if model.kind != "model":
            raise Untrusted("kind", f"{item.selector}: {alias}: expected a model, got {model.selector}")
        _terms(model, held, targets)
        if unsigned:
            continue
        if alias not in terms.uses:
            raise Untrusted("alias", f"{item.selector}: it uses {one_of(terms.uses)}, got {alias}")
        name, taken = split_selector(terms.uses[alias])
        if model.name != name or Version.parse(model.version) not in taken:
            raise Untrusted("range", f"{item.selector}: {alias}: expected {terms.uses[alias]}, got {model.selector}")
    if not unsigned and (missing := sorted(terms.uses.keys() - desired.models.keys())):
        raise Untrusted("alias", f"{item.selector}: expected a model for {', '.join(missing)}")
    if desired.golden is not None:
        if desired.golden.kind != "golden":
            raise Untrusted("kind", f"{item.selector}: expected a golden clip, got {desired.golden.selector}")
        _terms(desired.golden, held, targets)
    for key, value in desired.set.items():
        if key not in terms.tunable:
            raise Untrusted("tunable", f"{item.selector}: {key} may not be set from afar: expected {one_of(terms.tunable)}")
        if not terms.tunable[key].takes(value):
            raise Untrusted("tunable", f"{item.selector}: {key}: expected {terms.tunable[key]}, got {value!r}")


def _terms(item: Item, held: Held, targets: Mapping[str, TargetFile]) -> Terms:
    try:
        return terms_of(item, targets)
    except Untrusted:
        if item.digest in held.factory:
            return Terms()
        raise
