from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from devices.cpu import Cpu, available_memory, usable_cores
from devices.device import Device

MIB = 2**20


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.fixture
def machine(tmp_path: Path):
    """Writes files of /proc and /sys under a root of its own, and gives the root."""

    def write(**files: str) -> Path:
        for name, text in ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 4096 kB\n"} | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_it_is_a_device() -> None:
    cpu = Cpu()
    assert isinstance(cpu, Device)
    assert (cpu.name, cpu.domain, cpu.emulated, cpu.missing()) == ("cpu", "cpu", False, None)
    assert 1 <= cpu.cores <= 8
    assert cpu.memory_bytes > 0


def test_copies_between_one_domain() -> None:
    source, target = np.arange(6).reshape(2, 3), np.zeros((2, 3), int)
    Cpu().upload(source, target)
    assert (source == target).all()
    with pytest.raises(TypeError):
        Cpu().download(source, np.zeros((2, 3), np.float32))


def test_without_control_groups(machine) -> None:
    root = machine()
    assert (usable_cores(root), available_memory(root)) == (8, 4 * MIB)


def test_affinity(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert usable_cores(machine(**{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"})) == 1


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_quota_v2(machine, quota: str, cores: int) -> None:
    assert usable_cores(machine(**{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": quota})) == cores


def test_quota_of_an_outer_group(machine) -> None:
    root = machine(
        **{
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000",
            "sys/fs/cgroup/a/cpu.max": "300000 100000",
            "sys/fs/cgroup/cpu.max": "400000 100000",
        }
    )
    assert usable_cores(root) == 3


def test_quota_v1(machine) -> None:
    root = machine(
        **{
            "proc/self/cgroup": "3:cpu,cpuacct:/box\n2:memory:/box\n0::/\n",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        }
    )
    assert usable_cores(root) == 4


def test_path_of_the_host_seen_in_a_container(machine) -> None:
    root = machine(**{"proc/self/cgroup": "0::/../../docker/x\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"})
    assert usable_cores(root) == 2


def test_memory_limit_v2(machine) -> None:
    root = machine(
        **{
            "proc/self/cgroup": "0::/a\n",
            "sys/fs/cgroup/a/memory.max": f"{3 * MIB}\n",
            "sys/fs/cgroup/a/memory.current": f"{2 * MIB}\n",
            "sys/fs/cgroup/a/memory.stat": f"anon 5\ninactive_file {MIB // 2}\n",
        }
    )
    assert available_memory(root) == MIB + MIB // 2


def test_memory_limit_v1(machine) -> None:
    root = machine(
        **{
            "proc/self/cgroup": "2:memory:/a\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{3 * MIB}\n",
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": f"{4 * MIB}\n",
        }
    )
    assert available_memory(root) == 0


def test_unlimited_memory(machine) -> None:
    root = machine(
        **{
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.current": "5\n",
        }
    )
    assert available_memory(root) == 4 * MIB
