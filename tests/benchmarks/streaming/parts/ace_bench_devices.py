"""Two devices that are the host under other names: work placed on one of them gets a worker of its own."""

from __future__ import annotations

from devices.cpu import Cpu


class Left(Cpu):
    name = "left"
    emulated = True


class Right(Cpu):
    name = "right"
    emulated = True
