"""Roots of trust in a row: each signed by the threshold of the one before it and by its own, versions without a gap (TUF 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from manifests.sync.trust import Untrusted

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root

MOST_BYTES = 512_000
"""Of one root: clients of TUF read no more."""


def chain(present: Metadata[Root], roots: Sequence[bytes], now: datetime) -> list[Metadata[Root]]:
    """The roots that follow the present one. The last must not have expired. Raises Untrusted, and then none of them counts."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    if not roots:
        raise Untrusted("metadata", "expected one root at least, got none")
    followed = []
    for data in roots:
        expected = present.signed.version + 1
        if len(data) > MOST_BYTES:
            raise Untrusted("endless", f"root {expected}: expected at most {MOST_BYTES} bytes, got {len(data)}")
        try:
            root: Metadata[Root] = Metadata.from_bytes(data)
            if root.signed.type != "root":
                raise Untrusted("metadata", f"expected a root, got {root.signed.type}")
            if root.signed.version != expected:
                raise Untrusted("rollback", f"expected root {expected}, which follows {expected - 1}, got root {root.signed.version}")
            present.signed.verify_delegate("root", root.signed_bytes, root.signatures)
            root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
        except DeserializationError as error:
            raise Untrusted("metadata", f"expected root {expected}, got something else: {error}") from None
        except RepositoryError as error:
            raise Untrusted(
                "signature", f"root {expected}: expected the signatures of enough keys of root {expected - 1} and of its own: {error}"
            ) from None
        followed.append(root)
        present = root
    if present.signed.is_expired(now):
        raise Untrusted("expired", f"root {present.signed.version} expired at {present.signed.expires:%Y-%m-%d}: sign a newer one")
    if not present.signed.consistent_snapshot:
        raise Untrusted("metadata", f"root {present.signed.version}: expected one with consistent snapshots, which devices rely on")
    return followed
