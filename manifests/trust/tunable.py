"""What of a business may be set from afar, and within which bounds. The bounds are signed offline, with the bundle."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from manifests.schema.common import Strict


class Bound(Strict):
    """What one setting may be: one of some choices, or a number within bounds, both included."""

    min: float | None = None
    max: float | None = None
    choices: Annotated[tuple[int | float | str | bool, ...], Field(max_length=256)] = ()

    def takes(self, value: Any) -> bool:
        """Whether the setting may have this value. True and 1 are different values."""
        if self.choices:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float) or self.min is None or self.max is None:
            return False
        return self.min <= value <= self.max

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.choices))}" if self.choices else f"a number from {self.min} to {self.max}"
