"""The real store and the real update machine, cut after every call, with every subset of what was not synced."""

from __future__ import annotations

import json
import operator
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import BundleError
from manifests.store.effects import Effects
from manifests.store.store import FACTORY_FILE, Store, StoreError, install_factory
from manifests.sync.states import AFTER_SWAP, State, load
from manifests.trust.store import ROLES
from tests.manifests.store.power import Disk, Recorder, fingerprint, restore
from tests.manifests.sync.conftest import OFFICE, Cloud, Engine, Rig, Time, bundles, place, wanted

__all__ = ["bundles", "place"]


EACH = None if os.environ.get("ACE_EVERY_CUT") else 2
"""Survivors of one cut that are looked at; the variable asks for all of them, which takes minutes."""


STORE = "store"
RELEASES = ("two", "bad", "three")


class Violation(Exception):
    """A promise that was broken."""


def record(place: Path, bundles: Callable[..., Bundle], forgets: frozenset[str] = frozenset()) -> Recorder:
    """A device from its factory to a new release that shares files with the old one, a bad one and the way back from it, and the next,
    that ends the first for good."""
    effects = Recorder(place, forgets)
    factory = bundles("factory")
    install_factory(place / STORE, factory.path, effects=effects)
    effects.promise(factory=True)
    rig = Rig(place / STORE, Time(), Engine(), Cloud(), effects=effects).start()
    rig.run(State.IDLE)
    for revision, name in enumerate(RELEASES, 1):
        bundle = bundles(name, model=f"1.{revision}.0", weights=name.encode() * 50, golden=True)
        rig.fetcher.add(bundle)
        rig.submit(wanted(bundle, revision))
        effects.promise(floor=revision, metadata=versions(rig.root / "trust"))
        rig.engine.figures = {"poison": 1} if name == "bad" else {}
        rig.run(State.ROLLED_BACK if name == "bad" else State.COMMITTED, tick=30.0)
        rig.run(State.IDLE)
    rig.stop()
    return effects


def versions(trust: Path) -> list[int]:
    """Of the metadata that a device keeps, root first; 0 where it has none. Raises Violation."""
    paths = [trust / f"{role}.json" for role in ROLES]
    try:
        return [json.loads(path.read_bytes())["signed"]["version"] if path.exists() else 0 for path in paths]
    except ValueError:
        raise Violation("metadata are trusted and torn") from None


def cuts(effects: Recorder, target: Path, each: int | None = None) -> Iterator[dict[str, Any]]:
    """Restores survivors of every cut into `target`, each once; gives what was promised before the cut.

    Of a cut the first, the last and some in between, `each` in all; None: every one.
    """
    seen = set()
    disk = Disk()
    for number in range(len(effects.calls) + 1):
        for tree, contents in disk.survivors(number, each):
            if (which := fingerprint(tree, contents, disk.database)) not in seen:
                seen.add(which)
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir()
                restore(target, tree, contents, disk.database)
                yield dict(disk.promised)
        if number < len(effects.calls):
            disk.apply(effects.calls[number])


def check(root: Path, promised: Mapping[str, Any] | None = None) -> None:
    """What must hold after any cut, before anything is mended."""
    promised = promised or {}
    if not (root / FACTORY_FILE).exists():
        if "factory" in promised:
            raise Violation("the factory file is gone")
        return
    if any(map(operator.lt, versions(root / "trust"), promised.get("metadata", ()))):
        raise Violation("metadata that were trusted are older now")
    with Store(root) as store:
        for (sha256,) in store.database.rows("SELECT sha256 FROM blob"):
            if not store.blobs.is_sound(sha256):
                raise Violation(f"the blob {sha256} is trusted and torn")
        for role in ("factory", "active"):
            generation = store.generations.role(role)
            if generation is None or not store.generations.is_sound(generation):
                raise Violation(f"the {role} generation cannot be read")
        if load(store).state in AFTER_SWAP:
            previous = store.generations.role("previous")
            if previous is None or not store.generations.is_sound(previous):
                raise Violation("there is nothing to go back to")
        floor = int(store.fact("floor", 0))
        if floor < max(load(store).revision, promised.get("floor", 0)):
            raise Violation("an older revision would be taken")


def test_every_cut_leaves_a_device_that_runs_and_can_go_back(place: Path, bundles: Callable[..., Bundle]) -> None:
    effects = record(place, bundles)
    count = 0
    for promised in cuts(effects, place / "cut", EACH):
        check(place / "cut" / STORE, promised)
        count += 1
    assert count > 300


def test_the_update_goes_on_after_every_cut(place: Path, bundles: Callable[..., Bundle]) -> None:
    """Everything that was not synced is lost; the newest desired state is sent again."""
    effects = record(place, bundles)
    newest = bundles("three", model="1.3.0", weights=b"three" * 50, golden=True)
    disk = Disk()
    done = 0
    for number, call in enumerate(effects.calls):
        disk.apply(call)
        if number % 20 or disk.database is None:
            continue
        target = place / "cut"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        restore(target, disk.tree(set()), {}, disk.database)
        if not (target / STORE / FACTORY_FILE).exists():
            continue
        rig = Rig(target / STORE, Time(), Engine(), Cloud(), effects=Effects(), office=place / OFFICE)
        for name in RELEASES:
            with Bundle(place / f"{name}.ace") as bundle:
                rig.fetcher.add(bundle)
        rig.start()
        rig.submit(wanted(newest, 3))
        for _ in range(200):
            if rig.updater.step() is State.IDLE and rig.updater.desired.revision == 3:
                break
            rig.time.at += 30.0
        assert rig.updater.desired.revision == 3, (number, call[:2], rig.bodies()[-3:])
        rig.stop()
        done += 1
    assert done > 15


@pytest.mark.parametrize("lie", ["sync", "sync_folder", "sync_folder ."])
def test_a_disk_that_does_not_sync_breaks_the_promise(place: Path, bundles: Callable[..., Bundle], lie: str) -> None:
    """So the harness would find a sync that is missing."""
    effects = record(place, bundles, frozenset({lie}))
    with pytest.raises((Violation, StoreError, BundleError, LookupError, OSError)):
        check_all(effects, place / "cut")


def check_all(effects: Recorder, target: Path) -> None:
    for promised in cuts(effects, target, 6):
        check(target / STORE, promised)
