"""Private keys of the repository: Ed25519, in PEM files that only their owner may read, with a passphrase where one is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

PASSPHRASE = "ACE_TRUST_PASSPHRASE"  # noqa: S105 - the name of a variable


class KeyRefusal(ValueError):
    """A key that cannot be used."""


def create(path: Path, passphrase: str = "") -> CryptoSigner:
    """Writes a new key. Raises FileExistsError: keys are never overwritten."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner

    private = Ed25519PrivateKey.generate()
    locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        locked = serialization.BestAvailableEncryption(passphrase.encode())
    data = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return CryptoSigner(private)


def load(path: Path, passphrase: str = "") -> CryptoSigner:
    """Raises OSError, KeyRefusal."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    if path.stat().st_mode & 0o077:
        raise KeyRefusal(f"{path}: expected a key that only its owner may read (chmod 600 {path})")
    try:
        private = load_pem_private_key(path.read_bytes(), passphrase.encode() or None)
        return CryptoSigner(private)
    except (ValueError, TypeError):
        raise KeyRefusal(f"{path}: expected a private key in PEM; a locked one needs its passphrase in {PASSPHRASE}") from None
