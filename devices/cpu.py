"""The built-in device: this process's share of the machine's processors and memory, as affinity and control groups leave it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np


class Cpu:
    """The processors this process may use."""

    name = "cpu"
    kind = "cpu"
    domain = "cpu"
    emulated = False

    @property
    def cores(self) -> int:
        return usable_cores()

    @property
    def memory_bytes(self) -> int:
        return available_memory()

    def missing(self) -> str | None:
        return None

    def upload(self, source: np.ndarray, target: np.ndarray) -> None:
        np.copyto(target, source, casting="no")

    def download(self, source: np.ndarray, target: np.ndarray) -> None:
        np.copyto(target, source, casting="no")


def usable_cores(root: Path = Path("/")) -> int:
    """Cores this process may use at once: its affinity, and the CPU quota of its control groups rounded down, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _control_groups(root, "cpu"):
        quota, period = (*_words(group / "cpu.max"), "max", "100000")[:2]
        if quota == "max":
            quota = (_words(group / "cpu.cfs_quota_us") or ["-1"])[0]
            period = (_words(group / "cpu.cfs_period_us") or ["100000"])[0]
        if int(quota) > 0 and int(period) > 0:
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be allocated without swapping: MemAvailable, and what the memory limits of its control groups leave."""
    free = 2**63 - 1
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    for group in _control_groups(root, "memory"):
        for limit_file, used_file, reclaimable in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _words(group / limit_file), _words(group / used_file)
            if limit and used and limit[0] != "max":
                cached = sum(int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith(reclaimable + " "))
                free = min(free, max(0, int(limit[0]) - int(used[0]) + cached))
    return free


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups (v2, and v1's for this controller) that hold this process, innermost first."""
    for line in _lines(root / "proc/self/cgroup"):
        _, names, place = (*line.split(":", 2), "", "")[:3]
        if names and controller not in names.split(","):
            continue
        mounts = [root / "sys/fs/cgroup" / names] if names else [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        # In a container the path may be one of the host's; then only the mount's root is ours.
        path = PurePosixPath(place.lstrip("/"))
        inner = [] if ".." in path.parts else [path, *path.parents]
        for mount in mounts:
            yield from dict.fromkeys([*(mount / level for level in inner), mount])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
