"""What a machine has: local memory and speed, as declared."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from devices.engine import EngineError

VARIABLE = "ACE_VPU"
MOST_LOCAL = 2**26
SETTINGS = {"local_kib": (16, MOST_LOCAL // 1024), "gmacs": (1, 10**6), "dma_mb": (1, 10**7), "paced": (0, 1)}
"""What the variable may set, and from where to where: KiB of local memory, 10^9 multiplications a second, 10^6 bytes a second between both
memories, and whether a run takes at least as long as the machine would."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine does one thing after another: it moves bytes, or it computes. Each element of an operator without weights counts as one
    multiplication for each value it reads."""

    local_bytes: int = 512 * 1024
    macs_per_second: int = 64 * 10**9
    bytes_per_second: int = 4 * 10**9
    paced: bool = False

    def nanoseconds(self, macs: int, nbytes: int) -> int:
        """How long so much work takes at the declared speed."""
        return -(-macs * 10**9 // self.macs_per_second) - (-nbytes * 10**9 // self.bytes_per_second)

    def __str__(self) -> str:
        return f"{self.local_bytes // 1024} KiB local, {self.macs_per_second / 1e9:g} GMAC/s, {self.bytes_per_second / 1e6:g} MB/s"


def declared(environment: Mapping[str, str] | None = None) -> Machine:
    """The machine that ACE_VPU declares (`local_kib=256,gmacs=8,dma_mb=1000,paced=1`), what it leaves out as usual. Raises EngineError."""
    text = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
    found: dict[str, int] = {}
    for item in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in item.partition("="))
        if name not in SETTINGS:
            near = difflib.get_close_matches(name, SETTINGS, 1)
            raise EngineError(
                f"{VARIABLE}: expected {', '.join(SETTINGS)}, got {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
        least, most = SETTINGS[name]
        if not (value.isascii() and value.isdecimal() and len(value) < 12 and least <= int(value) <= most):
            raise EngineError(f"{VARIABLE}: {name}: expected a whole number from {least} to {most}, got {value!r}")
        found[name] = int(value)
    usual = Machine()
    return Machine(
        found.get("local_kib", usual.local_bytes // 1024) * 1024,
        found.get("gmacs", usual.macs_per_second // 10**9) * 10**9,
        found.get("dma_mb", usual.bytes_per_second // 10**6) * 10**6,
        bool(found.get("paced", usual.paced)),
    )
