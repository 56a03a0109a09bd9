"""Instruction sets that kernels are emitted for, and which of them this machine runs (CPU and operating system both)."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal

Dot = Literal["generic", "pmaddwd", "vpdpbusd", "smlal", "sdot"]
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
AT_HWCAP, HWCAP_ASIMD, HWCAP_ASIMDDP = 16, 1 << 1, 1 << 20


class IsaError(Exception):
    """An instruction set that does not exist, does not run here, or lacks what a kernel needs."""


@dataclass(frozen=True, slots=True)
class Isa:
    """What LLVM needs to know (triple, cpu, features) and what emitters ask (vector bytes, registers, how u8 x s8 sums are formed).

    `dot`: `pmaddwd` (i16 pairs), `vpdpbusd` (u8 x s8 quads), `smlal` (i16, one at a time), `sdot` (s8 quads) or `generic`.
    `provides` names the instructions that emitters may use by intrinsic; anything else raises before LLVM sees it, since LLVM aborts
    the process on an intrinsic that its target lacks.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector: int
    registers: int
    dot: Dot
    provides: frozenset[str]

    def require(self, instruction: str) -> None:
        """Raises IsaError where this instruction set lacks `instruction`."""
        if instruction not in self.provides:
            having = sorted(isa.name for isa in ISAS.values() if instruction in isa.provides)
            raise IsaError(
                f"{self.name} has no {instruction} (expected one of {', '.join(sorted(self.provides)) or 'no special instruction'}); "
                f"emit this kernel for {', '.join(having) or 'no known instruction set'}"
            )

    @property
    def group(self) -> int:
        """Consecutive elements of the depth that lie side by side in packed weights."""
        return {"generic": 2, "pmaddwd": 2, "vpdpbusd": 4, "smlal": 1, "sdot": 4}[self.dot]

    @property
    def widens(self) -> bool:
        """Whether activations are brought to i16 before they are multiplied."""
        return self.dot in ("generic", "pmaddwd", "smlal")

    @property
    def interleaves(self) -> bool:
        """Whether depthwise kernels multiply pairs of taps side by side."""
        return "pmaddwd" in self.provides


_AVX2 = frozenset({"avx2", "fma", "pmaddwd", "pmaddubsw"})
_ARM = frozenset({"neon", "smull"})

ISAS: dict[str, Isa] = {
    isa.name: isa
    for isa in (
        Isa("portable", X86 if os.uname().machine in ("x86_64", "AMD64") else ARM, "generic", "", 16, 16, "generic", frozenset()),
        Isa("avx2", X86, "x86-64-v3", "", 32, 16, "pmaddwd", _AVX2),
        Isa("avxvnni", X86, "x86-64-v3", "+avxvnni", 32, 16, "vpdpbusd", _AVX2 | {"vpdpbusd.256"}),
        Isa(
            "avx512vnni", X86, "x86-64-v4", "+avx512vnni,-prefer-256-bit", 64, 32, "vpdpbusd",
            _AVX2 | {"avx512", "vpdpbusd.256", "vpdpbusd.512"},
        ),
        Isa("neon", ARM, "generic", "+neon", 16, 32, "smlal", _ARM),
        Isa("neon-dotprod", ARM, "generic", "+neon,+dotprod", 16, 32, "sdot", _ARM | {"sdot"}),
    )
}  # fmt: skip
"""By name, from the least to the most wanted of each architecture."""


def isa(name: str) -> Isa:
    """The instruction set of this name. Raises IsaError with the nearest one."""
    if name not in ISAS:
        near = get_close_matches(name, ISAS, 1)
        raise IsaError(f"expected one of {', '.join(ISAS)}, got {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    return ISAS[name]


@lru_cache(maxsize=1)
def runnable() -> tuple[Isa, ...]:
    """The instruction sets that this CPU has and this operating system keeps the registers of, the best one last."""
    if os.uname().machine in ("x86_64", "AMD64"):
        names = {"portable", *x86_sets(*_x86_probes())}
    elif os.uname().machine == "aarch64":
        names = {"portable", *arm_sets(_hwcap())}
    else:
        names = set()
    return tuple(isa for isa in ISAS.values() if isa.name in names)


def best() -> Isa:
    """The instruction set that this machine should use. Raises IsaError on a machine that kernels cannot be made for."""
    found = runnable()
    if not found:
        raise IsaError(f"expected an x86-64 or AArch64 machine, got {os.uname().machine}; use the engine onnxruntime here")
    return found[-1]


Cpuid = Callable[[int, int], tuple[int, int, int, int]]


def x86_sets(cpuid: Cpuid, xgetbv: Callable[[], int]) -> tuple[str, ...]:
    """Names of the vector sets of an x86-64, from CPUID (leaf, subleaf -> eax, ebx, ecx, edx) and XCR0.

    A set counts when the CPU has all that LLVM may emit for it (the levels of the x86-64 psABI, 3.1.1) and the operating system saves
    its registers (XCR0: 0x6 for ymm, 0xE6 for zmm and masks).
    """
    highest = cpuid(0, 0)[0]
    one = cpuid(1, 0)[2]
    if highest < 7 or not one >> 27 & 1:  # OSXSAVE: without it xgetbv is an illegal instruction
        return ()
    state = xgetbv()
    most, seven, seven_c, _ = cpuid(7, 0)
    extended = cpuid(0x80000001, 0)[2] if cpuid(0x80000000, 0)[0] >= 0x80000001 else 0
    level3 = (
        _all(one, 0, 9, 12, 13, 19, 20, 22, 23, 28, 29)  # sse3 ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt avx f16c
        and _all(seven, 3, 5, 8)  # bmi1 avx2 bmi2
        and _all(extended, 0, 5)  # lahf lzcnt
        and state & 0x6 == 0x6
    )
    if not level3:
        return ()
    result = ["avx2"]
    if most >= 1 and cpuid(7, 1)[0] >> 4 & 1:
        result.append("avxvnni")
    if _all(seven, 16, 17, 28, 30, 31) and seven_c >> 11 & 1 and state & 0xE6 == 0xE6:  # avx512 f dq cd bw vl; vnni
        result.append("avx512vnni")
    return tuple(result)


def arm_sets(hwcap: int) -> tuple[str, ...]:
    """Names of the vector sets of an AArch64, from the kernel's AT_HWCAP word."""
    if not hwcap & HWCAP_ASIMD:
        return ()
    return ("neon", "neon-dotprod") if hwcap & HWCAP_ASIMDDP else ("neon",)


def _all(word: int, *bits: int) -> bool:
    return all(word >> bit & 1 for bit in bits)


def _hwcap() -> int:
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.argtypes, getauxval.restype = [ctypes.c_ulong], ctypes.c_ulong
    return int(getauxval(AT_HWCAP))


# void cpuid(u32 leaf, u32 subleaf, u32 out[4]): push rbx; mov r8,rdx; mov eax,edi; mov ecx,esi; cpuid; four stores to r8; pop rbx; ret
CPUID = bytes.fromhex("53 4989d0 89f8 89f1 0fa2 418900 41895804 41894808 4189500c 5b c3")
# u64 xgetbv(void): xor ecx,ecx; xgetbv; shl rdx,32; or rax,rdx; ret
XGETBV = bytes.fromhex("31c9 0f01d0 48c1e220 4809d0 c3")


def _x86_probes() -> tuple[Cpuid, Callable[[], int]]:
    """CPUID and XGETBV as functions, out of a page of machine code; where such pages are forbidden, a CPU without any vector set."""
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        page.write(CPUID.ljust(64, b"\x90") + XGETBV)
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(start), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
            raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except OSError:
        return (lambda leaf, subleaf: (0, 0, 0, 0)), (lambda: 0)
    raw = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(start)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(start + 64)

    def cpuid(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        out = (ctypes.c_uint32 * 4)()
        raw(leaf, subleaf, ctypes.addressof(out))
        assert page  # the code must outlive its callers
        return out[0], out[1], out[2], out[3]

    return cpuid, read
