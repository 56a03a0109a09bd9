"""Why something is not believed."""

from __future__ import annotations


class Untrusted(Exception):
    """What was expected, what came. `code` is for programs: `rollback`, `expired`, `tunable`, ..."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason
