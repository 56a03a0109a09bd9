"""A desired state with its signature: a DSSE envelope (https://github.com/secure-systems-lab/dsse), so that the very bytes are signed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from manifests.sync.desired import Desired
from manifests.sync.trust import Untrusted

if TYPE_CHECKING:
    from securesystemslib.signer import Signer
    from tuf.api.metadata import Targets

TYPE = "application/vnd.ace.desired+json"
ROLE = "desired"
"""The delegation in the offline-signed targets that names the online key."""
MAX_BYTES = 4 << 20


def seal(desired: Desired, signer: Signer) -> str:
    """The signed form, as JSON."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(desired.model_dump_json().encode(), TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), separators=(",", ":"))


def unseal(document: bytes, targets: Targets) -> Desired:
    """A desired state that the online key has signed. Raises Untrusted; what it says is not judged here."""
    from securesystemslib.dsse import Envelope
    from tuf.api.exceptions import UnsignedMetadataError

    if len(document) > MAX_BYTES:
        raise Untrusted("size", f"expected a desired state of at most {MAX_BYTES} bytes, got {len(document)}")
    try:
        envelope = Envelope.from_dict(json.loads(document))
        if envelope.payload_type != TYPE:
            raise Untrusted("form", f"expected a signed {TYPE}, got {envelope.payload_type[:64]}")
        targets.verify_delegate(ROLE, envelope.pae(), envelope.signatures)
    except UnsignedMetadataError:
        raise Untrusted("signature", "the desired state is not signed by a key that the offline targets name for this") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Untrusted("form", "expected a signed desired state (a DSSE envelope), got something else") from None
    try:
        return Desired.model_validate_json(envelope.payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:128]
        raise Untrusted("form", f"the signed desired state cannot be read: {place}: {first['msg'][:200]}") from None
