"""Keys of both ends. A device is its public key: 32 bytes, written as 64 hexadecimal digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manifests.store.effects import Effects, make_folder, write_file

BYTES = 32


class KeyFileError(ValueError):
    """A key file that cannot be used: what was expected, what it is."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE25519 key pair, raw bytes. `name` is what the other end knows it by."""

    public: bytes
    secret: bytes

    @property
    def name(self) -> str:
        return self.public.hex()

    def __repr__(self) -> str:
        return f"KeyPair({self.name})"

    @classmethod
    def create(cls) -> KeyPair:
        import zmq
        from zmq.utils import z85

        public, secret = zmq.curve_keypair()
        return cls(z85.decode(public), z85.decode(secret))

    @classmethod
    def load(cls, path: Path) -> KeyPair:
        """Reads a secret key from a file that only its owner may read. Raises KeyFileError, OSError."""
        import zmq
        from zmq.utils import z85

        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path}: expected a key file that only its owner may read (chmod 600 {path})")
        secret = parse_public(path.read_text().strip(), str(path))
        return cls(z85.decode(zmq.curve_public(z85.encode(secret))), secret)

    @classmethod
    def at(cls, path: Path, effects: Effects | None = None) -> KeyPair:
        """The key in this file; makes one where there is none. Raises KeyFileError, OSError."""
        effects = effects or Effects()
        if not path.exists():
            make_folder(effects, path.parent)
            # A key that a power cut takes back would leave a device that nobody knows, with its invitation spent.
            write_file(effects, path, f"{cls.create().secret.hex()}\n".encode())
        return cls.load(path)


def parse_public(text: str, place: str = "key") -> bytes:
    """A key from its hexadecimal form. Raises KeyFileError."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != BYTES:
        raise KeyFileError(f"{place}: expected a key of {2 * BYTES} hexadecimal digits, got {len(text)} characters")
    return key


def z85_text(key: bytes) -> bytes:
    """As ZeroMQ's options take it."""
    from zmq.utils import z85

    return z85.encode(key)
