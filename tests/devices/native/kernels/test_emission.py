"""What LLVM makes of the inner loops: the wanted instructions, nothing spilled. Emitted in a process of its own, since LLVM aborts."""

import json
import re
import subprocess
import sys

import pytest

EMIT = """
import json, sys
from devices.native.isa import isa
from devices.native.kernels.build import assembly
from devices.native.kernels.catalogue import catalogue
target, names = isa(sys.argv[1]), sys.argv[2:]
print(json.dumps({name: assembly(target, [catalogue(target)[name]]) for name in names}))
"""

# (instruction set, kernel, multiplication, how often it is in the largest inner loop)
LOOPS = [
    ("avx2", "gemm_u8_16", r"vpmaddwd\s", 24),
    ("avx2", "gemm_u8_24", r"vpmaddwd\s", 18),
    ("avx2", "gemm_f32_16", r"vfmadd\d+ps\s", 48),
    ("avx2", "gemm_f32_24", r"vfmadd\d+ps\s", 48),
    ("avxvnni", "gemm_u8_16", r"\{vex\}\s+vpdpbusd\s.*ymm", 12),
    ("avxvnni", "gemm_u8_24", r"\{vex\}\s+vpdpbusd\s.*ymm", 12),
    ("avx512vnni", "gemm_u8_16", r"vpdpbusd\s.*zmm", 12),
    ("avx512vnni", "gemm_u8_32", r"vpdpbusd\s.*zmm", 24),
    ("avx512vnni", "gemm_u8_48", r"vpdpbusd\s.*zmm", 24),
    ("avx512vnni", "gemm_f32_32", r"vfmadd\d+ps\s.*zmm", 96),
    ("avx2", "winograd_u8", r"vpmaddwd\s", 24),
    ("avx2", "winograd_f32", r"vfmadd\d+ps\s", 48),
    ("neon", "gemm_u8_16", r"smlal2?\s", 64),
    ("neon", "gemm_f32_16", r"fmla\s", 80),
    ("neon-dotprod", "gemm_u8_16", r"sdot\s", 24),
    ("neon-dotprod", "gemm_u8_8", r"sdot\s", 16),
]
VECTOR_ON_STACK = re.compile(r"(\tv\w+\s[^\n]*\(%rsp)|(\t(ldr|str|ldp|stp)\s+[qv]\d[^\n]*\[sp)")


@pytest.fixture(scope="session")
def assembled():
    made = {}

    def of(name):
        if name not in made:
            kernels = [kernel for target, kernel, _, _ in LOOPS if target == name]
            done = subprocess.run([sys.executable, "-c", EMIT, name, *kernels], capture_output=True, text=True, check=False, timeout=120)
            assert done.returncode == 0, done.stderr[-2000:]
            made[name] = json.loads(done.stdout)
        return made[name]

    return of


def loops(text):
    """Blocks of assembly that jump back to their own label."""
    for block in re.split(r"\n(?=\.LBB\d+_\d+:)", text):
        label = block.split(":")[0]
        if re.search(rf"\t(j\w+|b\.\w+|cbn?z\s+\w+,|tbn?z\s.*,)\s+{re.escape(label)}\b", block):
            yield block[: [m.end() for m in re.finditer(rf"{re.escape(label)}\b", block)][-1]]


@pytest.mark.parametrize(("target", "kernel", "instruction", "count"), LOOPS)
def test_inner_loop(assembled, target, kernel, instruction, count):
    found = max(loops(assembled(target)[kernel]), key=lambda block: len(re.findall(instruction, block)))
    assert len(re.findall(instruction, found)) == count, found
    assert not VECTOR_ON_STACK.search(found), found


def test_no_kernel_calls_out(assembled):
    """The linker would refuse it; here it is seen for what it is."""
    for target in ("avx2", "neon"):
        for text in assembled(target).values():
            assert not re.search(r"\t(callq?|bl)\s", text)


def test_dotprod_is_not_in_plain_neon(assembled):
    assert not any(re.search(r"\t[su]dot\s", text) for text in assembled("neon").values())
