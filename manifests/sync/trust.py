"""What the update machine asks of whoever verifies signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from manifests.sync.desired import Desired


class Untrusted(Exception):
    """A desired state that is not taken. `code` is one word for programs (`signature`, `expired`, `rollback`, `device`, `target`, …)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Verified:
    """A desired state that may be obeyed. `signed` is when it was signed, in seconds since 1970: it advances the trusted clock."""

    desired: Desired
    signed: float


class Verifier(Protocol):
    """Verifies signatures. A method may read its own files, but asks no network."""

    def verify(self, envelope: bytes, *, now: float) -> Verified:
        """The desired state in the envelope, if its signatures hold at the time `now` and everything that it names is a signed target.

        Raises Untrusted.
        """
