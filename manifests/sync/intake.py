"""What comes in: a desired state is verified before anything of it is written down, and only a newer one is taken."""

from __future__ import annotations

from manifests.bundle.canonical import digest, encode
from manifests.store.reset import to_factory
from manifests.sync.context import Context
from manifests.sync.outbox import post
from manifests.sync.trust import Untrusted, Verified


def submit(context: Context, envelope: bytes, source: str) -> bool:
    """Takes a desired state; False for the one that is wanted already. Raises Untrusted, after a report, OSError, sqlite3.Error."""
    store = context.store
    try:
        verified = context.verifier.verify(envelope, now=context.clock.now())
        context.clock.signed(verified.signed)
        fresh = _is_newer(context, verified)
    except Untrusted as error:
        with store.transaction():
            post(store, {"kind": "refused", "code": error.code, "reason": str(error), "at": context.clock.now()})
        raise
    if fresh:
        _take(context, verified, envelope, source)
    return fresh


def _is_newer(context: Context, verified: Verified) -> bool:
    store, desired = context.store, verified.desired
    floor, epoch = int(store.fact("floor", -1)), int(store.fact("reset_epoch", 0))
    if desired.revision < floor or desired.reset_epoch < epoch:
        raise Untrusted(
            "rollback", f"expected revision {floor} or newer (reset {epoch}), got revision {desired.revision} (reset {desired.reset_epoch})"
        )
    if desired.revision > floor:
        return True
    if store.fact("hold"):
        raise Untrusted("hold", f"expected a revision newer than {floor}, which was reset, got {desired.revision}; approve a newer one")
    known = store.fact("floor_digest")
    if known is not None and known != _identity(verified):
        raise Untrusted("equivocation", f"expected revision {floor} to say what it said before, got another content; raise the revision")
    return known is None


def _take(context: Context, verified: Verified, envelope: bytes, source: str) -> None:
    store, desired = context.store, verified.desired
    with store.transaction():
        if desired.reset_epoch > int(store.fact("reset_epoch", 0)):
            to_factory(store, hold=desired.hold)
            store.state("reset_epoch", desired.reset_epoch)
            post(store, {"kind": "reset", "where": "cloud", "revision": desired.revision, "at": context.clock.now()}, final=True)
        store.state("floor", desired.revision)
        store.state("floor_digest", _identity(verified))
        store.state("hold", int(desired.hold))
        store.state("time", context.clock.now())
        if desired.hold:
            store.database.change("DELETE FROM wanted")
        else:
            store.database.change(
                "INSERT OR REPLACE INTO wanted (id, revision, digest, envelope, source) VALUES (1, ?, ?, ?, ?)",
                desired.revision, _identity(verified), envelope, source,
            )  # fmt: skip
    store.raise_floor(desired.revision)


def _identity(verified: Verified) -> str:
    return digest(encode(verified.desired.model_dump(mode="json")))
