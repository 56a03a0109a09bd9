"""A desired state with its signature: a DSSE envelope (https://github.com/secure-systems-lab/dsse), so that the very bytes are signed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from manifests.sync.desired import Desired
from manifests.sync.trust import Untrusted

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Targets

TYPE = "application/vnd.ace.desired+json"
ONLINE, OFFLINE = "desired", "updates"
"""The delegations in the offline-signed targets: the cloud's online key, and the key of update files, which is kept offline."""
MAX_BYTES = 4 << 20


def seal(desired: Desired, signer: Signer) -> str:
    """The signed form, as JSON."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(desired.model_dump_json().encode(), TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), separators=(",", ":"))


def unseal(document: bytes, targets: Targets) -> tuple[Desired, str]:
    """A desired state, and whose key has signed it: ONLINE or OFFLINE. Raises Untrusted; what it says is not judged here."""
    from tuf.api.exceptions import UnsignedMetadataError

    envelope = _envelope(document)
    for role in (OFFLINE, ONLINE):
        try:
            targets.verify_delegate(role, envelope.pae(), envelope.signatures)
        except (UnsignedMetadataError, ValueError):
            continue  # another's, or targets without this delegation
        return _desired(envelope), role
    raise Untrusted("signature", "the desired state is not signed by a key that the offline targets name for this")


def peek(document: bytes) -> tuple[Desired, list[str]]:
    """What it says, and the ids of the keys that are said to have signed it: nothing is verified. Raises Untrusted."""
    envelope = _envelope(document)
    return _desired(envelope), sorted(envelope.signatures)


def _envelope(document: bytes) -> Envelope:
    from securesystemslib.dsse import Envelope

    if len(document) > MAX_BYTES:
        raise Untrusted("size", f"expected a desired state of at most {MAX_BYTES} bytes, got {len(document)}")
    try:
        envelope = Envelope.from_dict(json.loads(document))
        if envelope.payload_type != TYPE:
            raise Untrusted("form", f"expected a signed {TYPE}, got {envelope.payload_type[:64]}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Untrusted("form", "expected a signed desired state (a DSSE envelope), got something else") from None
    return envelope


def _desired(envelope: Envelope) -> Desired:
    try:
        return Desired.model_validate_json(envelope.payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:128]
        raise Untrusted("form", f"the signed desired state cannot be read: {place}: {first['msg'][:200]}") from None
