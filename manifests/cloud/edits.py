"""The verbs as edits of a desired state: from what a device should run, to what it should run next. Nothing is stored or sent here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from manifests.cloud.errors import Refusal, Unknown
from manifests.cloud.library import Library
from manifests.errors import one_of
from manifests.sync.desired import Desired, DesiredBusiness, Item, Shadow
from manifests.sync.reported import Reported
from manifests.trust.policy import items_of
from manifests.versions import Version


@dataclass(frozen=True, slots=True)
class Edit:
    """The next desired state of one device, and which of its businesses change. `kept`: those whose range refuses the model, and why."""

    desired: Desired
    touched: tuple[str, ...]
    kept: Mapping[str, str]


def base(desired: Desired, reported: Reported | None) -> Desired:
    """What to edit: what was last wanted; for a device that was reset, or was given signed files since, what it says that it runs.

    Raises Refusal.
    """
    desired = desired.model_copy(update={"shadow": None})
    ahead = reported is not None and reported.revision > desired.revision
    held = desired.hold or (reported is not None and reported.hold)
    if desired.revision and not held and not ahead:
        return desired
    if reported is None:
        raise Refusal("the device has not yet said what it runs: wait until it has connected once")
    document = reported.document if ahead and not held else desired.document
    return desired.model_copy(update={"active": reported.active, "document": document, "hold": False})


def proving(desired: Desired, seconds: float | None, shadow: Shadow | None = None) -> Desired:
    """The same with this time of probation, where one is given, and this trial before the switch."""
    update: dict[str, Any] = {"shadow": shadow} | ({} if seconds is None else {"probation_s": seconds})
    return desired.model_copy(update=update)


def download(desired: Desired, items: Iterable[Item]) -> Edit:
    """Fetch and keep; nothing changes what runs."""
    staged = {item.digest: item for item in (*desired.staged, *items)}
    return Edit(desired.model_copy(update={"staged": tuple(staged.values())}), (), {})


def reload(
    desired: Desired, item: Item, library: Library, *, all_or_nothing: bool = False, settings: Mapping[str, Any] | None = None
) -> Edit:
    """Run this version of a model in every business that takes it, or this version of a business.

    With `all_or_nothing` a business that refuses the model refuses the reload. Raises Refusal, Unknown.
    """
    if item.kind == "model":
        edit = _reload_model(desired, item, library, all_or_nothing)
    else:
        edit = _reload_business(desired, item, library, settings or {})
    for business in edit.desired.active:
        for each in (business.business, *business.models.values()):
            if each.digest in library.items and not library.signed(each):
                raise Refusal(
                    f"{each.selector} is no longer among the signed targets, and the device would refuse it: reload {each.kind}/{each.name}"
                )
    return edit


def _reload_model(desired: Desired, item: Item, library: Library, all_or_nothing: bool) -> Edit:
    touched: list[str] = []
    kept: dict[str, str] = {}
    active = []
    version = Version.parse(item.version)
    for each in desired.active:
        models = dict(each.models)
        for use in library.uses(each.business):
            if use.model != item.name:
                continue
            if version in use.range:
                models[use.alias] = item
            else:
                kept[each.business.name] = f"{each.business.selector} takes {use.model}@{use.range}"
        if models == each.models:
            active.append(each)
            continue
        touched.append(each.business.name)
        active.append(each.model_copy(update={"models": models, "golden": library.golden(each.business, models)}))
    if all_or_nothing and kept:
        raise Refusal(f"{item.selector} is refused by {'; '.join(kept.values())}: nothing was reloaded", kept=kept)
    if not touched and kept:
        raise Refusal(f"{item.selector} is refused by every business that uses it: {'; '.join(kept.values())}", kept=kept)
    if not touched and not any(item in each.models.values() for each in desired.active):
        running = one_of(sorted({model.name for each in desired.active for model in each.models.values()}))
        raise Unknown(f"no business on this device uses model/{item.name}: expected {running}")
    return Edit(desired.model_copy(update={"active": tuple(active)}), tuple(touched), kept)


def _reload_business(desired: Desired, item: Item, library: Library, settings: Mapping[str, Any]) -> Edit:
    preferred = [model for each in desired.active for model in each.models.values() if library.signed(model)]
    models = {use.alias: library.resolve(use, preferred) for use in library.uses(item)}
    old = next((each for each in desired.active if each.business.name == item.name), None)
    new = DesiredBusiness(
        business=item,
        models=models,
        golden=library.golden(item, models),
        set={**(old.set if old else {}), **settings},
        enabled=old.enabled if old else True,
    )
    active = [new if each is old else each for each in desired.active] + ([new] if old is None else [])
    return Edit(desired.model_copy(update={"active": tuple(active)}), (item.name,) if new != old else (), {})


def remove(desired: Desired, what: str) -> Edit:
    """Run this business no longer, and keep nothing of this name (`model/NAME` too) that was only downloaded. Raises Unknown."""
    kind, _, name = what.rpartition("/")
    kind = kind or "business"
    active = tuple(each for each in desired.active if (kind, name) != ("business", each.business.name))
    staged = tuple(item for item in desired.staged if (item.kind, item.name) != (kind, name))
    if (active, staged) == (desired.active, desired.staged):
        there = {f"business/{each.business.name}" for each in desired.active} | {f"{item.kind}/{item.name}" for item in desired.staged}
        raise Unknown(f"the device neither runs nor was to download {kind}/{name}: expected {one_of(sorted(there))}")
    touched = (name,) if active != desired.active else ()
    return Edit(desired.model_copy(update={"active": active, "staged": staged}), touched, {})


def assign(desired: Desired, document: Item) -> Edit:
    """Streams and bindings from this device document, which was signed offline for this device."""
    return Edit(desired.model_copy(update={"document": document}), tuple(each.business.name for each in desired.active), {})


def reset(desired: Desired) -> Edit:
    """Back to the factory state, and hold there."""
    touched = tuple(each.business.name for each in desired.active)
    update = {"reset_epoch": desired.reset_epoch + 1, "hold": True, "active": (), "staged": (), "shadow": None}
    return Edit(desired.model_copy(update=update), touched, {})


def bytes_missing(desired: Desired, stored: Iterable[Item], library: Library) -> int:
    """Bytes that a device that has these items would still have to fetch."""
    there = {digest for item in stored for digest in library.sizes(item)}
    wanted = [item for each in desired.active for item in items_of(each)]
    needed = {digest: size for item in (*wanted, *desired.staged) for digest, size in library.sizes(item).items()}
    return sum(size for digest, size in needed.items() if digest not in there)
