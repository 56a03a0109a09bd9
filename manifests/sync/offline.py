"""A signed file: a bundle that carries its own desired state, signed by a key that is kept offline. It needs no network at all.

`update.json` is an envelope: {"format", "payload": {"desired", "signed"}, "signatures": [{"key", "signature"}]}, canonical JSON. It is
signed by Ed25519 (RFC 8032) over DOMAIN and the canonical payload; `key` is the raw public key in hex. The desired state names every item
by digest, so that its signature holds for every byte of the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import BundleError, encode
from manifests.bundle.items import MAX_DOCUMENT, read_as
from manifests.schema.common import Strict
from manifests.sync.desired import ANY_DEVICE, Desired, Digest
from manifests.sync.trust import Untrusted, Verified

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DOMAIN = b"ace.update/v1\n"


class Payload(Strict):
    """What is signed. `signed`: seconds since 1970, by the signer's clock."""

    desired: Desired
    signed: Annotated[int, Field(ge=0, lt=1 << 40)]


class Signature(Strict):
    """By the key of this raw public key, hex."""

    key: Digest
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class Envelope(Strict):
    """A desired state with its signatures."""

    format: Literal["ace.update/v1"] = "ace.update/v1"
    payload: Payload
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=16)]


def sign(desired: Desired, key: Ed25519PrivateKey, *, signed: int) -> bytes:
    """The envelope of a desired state."""
    payload = Payload(desired=desired, signed=signed)
    public = key.public_key().public_bytes_raw().hex()
    signature = Signature(key=public, signature=key.sign(_signed(payload)).hex())
    envelope = Envelope(payload=payload, signatures=(signature,))
    return encode(envelope.model_dump(mode="json"))


def read_key(path: str | os.PathLike[str]) -> Ed25519PrivateKey:
    """A private key: PEM (PKCS #8) without a password. Raises BundleError, OSError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(Path(path).read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{path}: expected an Ed25519 private key (PEM, no password), got: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path}: expected an Ed25519 key, got another kind; make one with `openssl genpkey -algorithm ed25519`")
    return key


class OfflineVerifier:
    """Takes envelopes of signed files: signatures by at least `threshold` of the trusted keys (raw public keys, hex), for this device."""

    def __init__(self, keys: Iterable[str], device: str, *, threshold: int = 1) -> None:
        self._keys, self._device, self._threshold = frozenset(keys), device, threshold

    def verify(self, envelope: bytes, *, now: float) -> Verified:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            read = read_as(Envelope, envelope, what="the signed desired state", limit=MAX_DOCUMENT)
        except BundleError as error:
            raise Untrusted("envelope", str(error)) from None
        good = set()
        for each in read.signatures:
            if each.key not in self._keys:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(bytes.fromhex(each.key)).verify(bytes.fromhex(each.signature), _signed(read.payload))
                good.add(each.key)
            except (InvalidSignature, ValueError):
                continue
        if len(good) < self._threshold:
            got = f"{len(good)} of keys {', '.join(each.key[:12] for each in read.signatures)}"
            raise Untrusted(
                "signature", f"expected {self._threshold} valid signature(s) by trusted keys, got {got}; sign it with a key of this device"
            )
        desired = read.payload.desired
        if desired.device not in (self._device, ANY_DEVICE):
            raise Untrusted("device", f"expected a desired state of {self._device}, got one of {desired.device}")
        return Verified(desired, float(read.payload.signed))


def envelope_of(path: str | os.PathLike[str]) -> bytes:
    """The envelope that a signed file carries. Raises BundleError, OSError."""
    with Bundle(path) as bundle:
        if bundle.update is None:
            raise BundleError(f"{path}: expected a signed file, got a bundle without a desired state; write it with `ace pack --sign`")
        return bundle.update


def _signed(payload: Payload) -> bytes:
    return DOMAIN + encode(payload.model_dump(mode="json"))
