import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.native.isa import ISAS, IsaError, arm_sets, best, isa, runnable, x86_sets

ALL = {
    (0, 0): (7, 0, 0, 0),
    (1, 0): (0, 0, 0xFFFFFFFF, 0),
    (7, 0): (1, 0xFFFFFFFF, 0xFFFFFFFF, 0),
    (7, 1): (1 << 4, 0, 0, 0),
    (0x80000000, 0): (0x80000008, 0, 0, 0),
    (0x80000001, 0): (0, 0, 0xFFFFFFFF, 0),
}
ZMM = 0xE7


def without(leaf: tuple[int, int], register: str, bit: int) -> Callable[[int, int], tuple[int, int, int, int]]:
    """Everything but one bit."""
    answers = {key: list(value) for key, value in ALL.items()}
    answers[leaf]["abcd".index(register)] &= ~(1 << bit)
    return lambda number, subleaf: (*answers[number, subleaf],)  # type: ignore[return-value]


def test_a_cpu_and_system_with_everything() -> None:
    assert x86_sets(lambda leaf, subleaf: ALL[leaf, subleaf], lambda: ZMM) == ("avx2", "avxvnni", "avx512vnni")


@pytest.mark.parametrize(("state", "sets"), [(0x7, ("avx2", "avxvnni")), (0x3, ()), (0x67, ("avx2", "avxvnni"))])
def test_registers_that_the_system_does_not_save_do_not_count(state: int, sets: tuple[str, ...]) -> None:
    assert x86_sets(lambda leaf, subleaf: ALL[leaf, subleaf], lambda: state) == sets


@pytest.mark.parametrize(
    ("leaf", "register", "bit", "sets"),
    [
        ((7, 0), "c", 11, ("avx2", "avxvnni")),
        ((7, 0), "b", 31, ("avx2", "avxvnni")),
        ((7, 1), "a", 4, ("avx2", "avx512vnni")),
        ((1, 0), "c", 12, ()),
        ((7, 0), "b", 5, ()),
        ((0x80000001, 0), "c", 5, ()),
    ],
)
def test_a_feature_that_is_missing(leaf: tuple[int, int], register: str, bit: int, sets: tuple[str, ...]) -> None:
    assert x86_sets(without(leaf, register, bit), lambda: ZMM) == sets


def test_without_osxsave_the_state_is_not_asked_for() -> None:
    def illegal() -> int:
        raise AssertionError("xgetbv is an illegal instruction here")

    assert x86_sets(without((1, 0), "c", 27), illegal) == ()


def test_arm_word_of_the_kernel() -> None:
    assert arm_sets(0) == ()
    assert arm_sets(1 << 1) == ("neon",)
    assert arm_sets(1 << 1 | 1 << 20) == ("neon", "neon-dotprod")


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").exists(), reason="reads /proc/cpuinfo of an x86-64")
def test_this_machine_agrees_with_its_system() -> None:
    found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert found
    flags = set(found[1].split())
    names = {each.name for each in runnable()}
    assert "portable" in names
    assert ("avx2" in names) == ({"avx2", "fma", "bmi2", "movbe"} <= flags)
    assert ("avx512vnni" in names) == ({"avx512_vnni", "avx512vl", "avx512bw"} <= flags)
    assert best() is runnable()[-1]


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(IsaError, match="did you mean avx2"):
        isa("avx")


def test_an_instruction_that_is_lacking_is_named_with_who_has_it() -> None:
    with pytest.raises(IsaError, match=r"neon has no pmaddubsw.*avx2"):
        ISAS["neon"].require("pmaddubsw")


def test_the_wrong_emitter_raises_before_llvm_sees_it() -> None:
    from devices.native.kernels.build import translate
    from devices.native.kernels.catalogue import gemm_u8

    with pytest.raises(IsaError, match="portable has no pmaddubsw"):
        translate(ISAS["portable"], [gemm_u8(16, pair_safe=True)])


def test_neither_detection_nor_kernels_import_a_compiler() -> None:
    code = (
        "import sys; import devices.native.kernels as k; from devices.native.isa import best; k.catalogue(best());"
        "from devices.native.kernels import pack, sites, tiles;"
        "print([name for name in ('numba', 'llvmlite', 'onnxruntime', 'onnx') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
