"""Back to generation 0 without a cloud and without a database: a marker that whoever has the store open obeys first of all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from manifests.bundle.canonical import BundleError, decode, encode
from manifests.store.effects import Effects, write_file
from manifests.store.generations import FACTORY
from manifests.store.store import FACTORY_FILE, Store, StoreError, StoreInUse

MARKER = "reset.json"
MAX_REASON = 500


def request_reset(root: str | os.PathLike[str], reason: str, *, effects: Effects | None = None) -> None:
    """Asks for a reset: it holds from now on, whatever is cut. Raises StoreError, OSError."""
    path = Path(root)
    if not path.is_dir():
        raise StoreError(f"{root}: expected the folder of a store, got none; give the agent's --store")
    if not any((path / name).exists() for name in ("state.db", FACTORY_FILE, "blobs")):
        raise StoreError(f"{root}: expected a store (state.db, blobs, {FACTORY_FILE}), got a folder without one; give the agent's --store")
    owner = path.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise StoreError(f"{root}: expected root or its owner (user {owner}) to reset it, got user {os.geteuid()}; use sudo")
    marker = encode({"id": secrets.token_hex(8), "reason": reason[:MAX_REASON]})
    write_file(effects or Effects(), path / MARKER, marker)


def reset_local(root: str | os.PathLike[str], reason: str) -> str:
    """Resets a store, at once where no agent has it open, else when that next looks. Says what happened. Raises StoreError, OSError."""
    request_reset(root, reason)
    try:
        with Store(root) as store:
            apply_reset(store)
            lost = f"; its database could not be read and lies at {store.lost}" if store.lost else ""
    except StoreInUse:
        return f"{root}: asked for; the agent that has the store open obeys at its next step"
    return f"{root}: back to its factory state{lost}; it holds until a newer revision is approved"


def is_requested(store: Store) -> bool:
    """Whether somebody asked for a reset."""
    return (store.root / MARKER).exists()


def apply_reset(store: Store) -> bool:
    """Obeys the marker, if there is one: generation 0 is active, no update is under way, and nothing is taken that is not newer.

    Enrolment keys and the highest revision ever seen stay. Raises OSError, sqlite3.Error.
    """
    marker = store.root / MARKER
    try:
        value = decode(marker.read_bytes(), what=MARKER, limit=65_536)
        name, reason = str(value["id"]), str(value["reason"])
    except FileNotFoundError:
        return False
    except (BundleError, KeyError, TypeError):
        name, reason = "unreadable", "a marker that could not be read"
    if store.fact("reset") != name:
        with store.transaction():
            to_factory(store, hold=True)
            store.state("reset", name)
            body = encode({"kind": "reset", "where": "local", "reason": reason}).decode()
            store.database.change("INSERT INTO outbox (final, body) VALUES (1, ?)", body)
    if not store.database.detached:  # else a cut would forget the reset
        store.effects.unlink(marker)
        store.effects.sync_folder(store.root)
    return True


def to_factory(store: Store, *, hold: bool) -> None:
    """Generation 0 is active and no update is under way. Stands inside a transaction."""
    store.generations.assign("active", FACTORY)
    store.generations.assign("previous", None)
    store.generations.assign("staged", None)
    for table in ("machine", "wanted", "failure", "baseline"):
        store.database.change(f"DELETE FROM {table}")  # noqa: S608 (names of our own)
    store.state("hold", int(hold))
    store.state("running", -1)
    store.state("reconcile", 1)
