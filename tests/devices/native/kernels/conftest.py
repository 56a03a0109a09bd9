"""Kernels of each instruction set over NumPy arrays: on this machine in fenced memory, AArch64 under qemu-user where it is installed."""

import ctypes
import importlib.util
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from devices.native.isa import ISAS, best, runnable
from devices.native.kernels import Library, catalogue, channel_stride, ensure, library
from devices.native.kernels.layout import OVER_READ

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
QEMU = os.environ.get("ACE_QEMU_AARCH64") or shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")


class Fence:
    """Memory between two pages that nobody may touch: it ends, or with `at_start` begins, at one of them."""

    def __init__(self):
        self._maps = []

    def array(self, content, *, at_start=False, slack=0):
        size = content.nbytes + slack
        pages = -(-max(size, 1) // PAGE) * PAGE
        base = LIBC.mmap(None, pages + 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        assert base not in (None, ctypes.c_void_p(-1).value)
        self._maps.append((base, pages + 2 * PAGE))
        assert LIBC.mprotect(base, PAGE, 0) == 0
        assert LIBC.mprotect(base + PAGE + pages, PAGE, 0) == 0
        start = base + PAGE + (0 if at_start else pages - size)
        memory = np.frombuffer((ctypes.c_uint8 * size).from_address(start), np.uint8)
        memory[content.nbytes :] = 0xA5
        result = memory[: content.nbytes].view(content.dtype).reshape(content.shape)
        result[...] = content
        return result

    def close(self):
        for base, size in self._maps:
            LIBC.munmap(base, size)
        self._maps.clear()


class Native:
    """Runs kernels in this process. Buffers lie in fences, followed by the declared over-read (outputs and tables by nothing)."""

    def __init__(self, loaded):
        self.isa, self.library = loaded.isa, loaded

    def run(self, name, *calls, at_start=False, **values):
        """Runs rows of each (begin, end) of `calls`; gives `out` (written from what was given) as a new array."""
        fence, kernel = Fence(), self.library.kernels[name]
        try:
            placed = {
                key: fence.array(value, at_start=at_start, slack=OVER_READ if key in OVER_READABLE else 0)
                if isinstance(value, np.ndarray)
                else value
                for key, value in values.items()
            }
            scratch = fence.array(np.zeros(-(-values.get("scratch_bytes", 0) // 64) * 64, np.uint8))
            words = kernel.words(**placed)
            for begin, end in calls:
                self.library.run(name, words, begin, end, scratch)
            return placed["out"].copy()
        finally:
            placed = words = scratch = None
            fence.close()


OVER_READABLE = ("a", "x", "pad")


class Emulated:
    """Runs AArch64 kernels under qemu-user: an executable made once, and a file of memory for each call."""

    BASE = 5 << 32

    def __init__(self, isa, folder, cpu):
        self.isa, self.cpu, self.folder = isa, cpu, folder
        self.kernels = catalogue(isa)
        self.program = folder / f"{isa.name}.elf"
        image, self.entries, self.stub = executable(ensure(isa).read_bytes(), self.kernels)
        self.program.write_bytes(image)
        self.program.chmod(0o700)

    def run(self, name, *calls, at_start=False, **values):
        kernel = self.kernels[name]
        for begin, end in calls:
            memory, places = bytearray(4096), {}
            for key, value in values.items():
                if isinstance(value, np.ndarray):
                    places[key] = len(memory)
                    memory += value.tobytes() + bytes(-value.nbytes % 64 + OVER_READ)
            words = kernel.words(**{key: value for key, value in values.items() if key not in places}).values
            for key, place in places.items():
                at = kernel.fields.index(key)
                words[at : at + 2] = self.BASE + place, values[key].nbytes
            words_at = len(memory)
            memory += words.tobytes() + bytes(64)
            scratch_at = -(-len(memory) // 64) * 64
            memory += bytes(scratch_at - len(memory) + int(values.get("scratch_bytes", 0)) + 64)
            header = [self.entries[name] - self.stub, begin, end, self.BASE + words_at, self.BASE + scratch_at, len(memory)]
            memory[:48] = np.array(header, np.int64).tobytes()
            job, result = self.folder / "job", self.folder / "result"
            job.write_bytes(memory)
            with job.open("rb") as source, result.open("wb") as target:
                done = subprocess.run([QEMU, "-cpu", self.cpu, self.program], stdin=source, stdout=target, timeout=60, check=False)
            assert done.returncode == 0, f"{name} under qemu ended with {done.returncode}"
            out = values["out"]
            content = np.fromfile(result, np.uint8)[places["out"] : places["out"] + out.nbytes].view(out.dtype).reshape(out.shape)
            values = {**values, "out": content}
        return content


def executable(shared, kernels):
    """The shared object as a program that maps its standard input, calls the kernel named there, and writes the memory out again."""
    import struct

    image = bytearray(shared)
    dynamic = struct.unpack_from("<QQQQQQ", image, 64 + 3 * 56 + 8)
    tags = dict(struct.iter_unpack("<QQ", image[dynamic[0] : dynamic[0] + dynamic[3]]))
    assert tags.get(8, 0) == 0, "relocations would need a loader"
    names, entries = tags[5], {}
    for at in range(tags[6], names, 24):
        name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", image, at)
        text = bytes(image[names + name : image.index(0, names + name)]).decode()
        if text in kernels:
            entries[text] = value
    text_header = 64 + 56
    _, _, start, _, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", image, text_header)
    stub = -(-(start + size) // 16) * 16

    def move(register, value, half=0):
        return 0xD2800000 | half << 21 | value << 5 | register

    def pair(first, second, offset):
        return 0xA9400000 | offset // 8 << 15 | second << 10 | 19 << 5 | first

    call = 0xD4000001
    code = [
        0x10000014,  # adr x20, .
        move(0, 5, 2), move(1, 0x400, 1), move(2, 3), move(3, 0x12), move(4, 0), move(5, 0), move(8, 222), call,  # mmap of standard input
        0xAA0003F3,  # mov x19, x0
        pair(9, 1, 0), pair(2, 0, 16), pair(3, 10, 32),
        0x8B090289, 0xD63F0120,  # add x9, x20, x9; blr x9
        move(0, 1), 0xAA1303E1, 0xF9401662, move(8, 64), call,  # write(1, memory, size)
        move(0, 0), move(8, 93), call,  # exit(0)
    ]  # fmt: skip
    image[stub : stub + 4 * len(code)] = struct.pack(f"<{len(code)}I", *code)
    grown = stub + 4 * len(code) - start
    struct.pack_into("<QQ", image, text_header + 32, grown, grown)
    struct.pack_into("<Q", image, 24, stub)
    return bytes(image), entries, stub


KITS = [name for name, isa in ISAS.items() if isa in runnable() or (QEMU and isa.triple.startswith("aarch64"))] + ["checked"]
VNNI_HERE = Path(__file__).with_name("vnni_here.py")


@pytest.fixture(scope="session")
def kits(tmp_path_factory):
    """Kits by name, made when they are first asked for."""
    made = {}

    def kit(name):
        if name in made:
            return made[name]
        if name == "vnni-spelled-out":
            if not any(isa.name == "avx2" for isa in runnable()):
                pytest.skip("needs AVX2")
            path = tmp_path_factory.mktemp("vnni") / "kernels.so"
            subprocess.run([sys.executable, str(VNNI_HERE), str(path)], check=True)
            spec = importlib.util.spec_from_file_location("vnni_here", VNNI_HERE)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            made[name] = Native(Library(module.HERE, path, module.KERNELS))
        elif name == "checked":
            ensure(best(), checked=True)
            made[name] = Native(library(best(), checked=True))
        elif ISAS[name] in runnable():
            ensure(ISAS[name])
            made[name] = Native(library(ISAS[name]))
        elif QEMU and ISAS[name].triple.startswith("aarch64"):
            made[name] = Emulated(ISAS[name], tmp_path_factory.mktemp(name), "max" if "sdot" in ISAS[name].provides else "cortex-a53")
        else:
            pytest.skip(f"{name} does not run on this machine")
        return made[name]

    return kit


@pytest.fixture(params=[*KITS, "vnni-spelled-out"])
def product_kit(request, kits):
    """Those, and the tiles of AVX-512 VNNI with the one instruction that this machine may lack spelled out."""
    return kits(request.param)


@pytest.fixture(params=KITS)
def kit(request, kits):
    """Each instruction set that can be run here; `checked` is the best one with kernels that trap outside their buffers."""
    return kits(request.param)


@pytest.fixture(scope="session")
def padded():
    """`padded(array, fill)`: an NHWC (or matrix) array with its last axis as long as the layout's channel stride."""

    def pad(array, fill=0xA5):
        stride = channel_stride(array.shape[-1])
        result = np.full((*array.shape[:-1], stride), fill, array.dtype)
        result[..., : array.shape[-1]] = array
        return result

    return pad


@pytest.fixture
def rng(request):
    """Random numbers that are the same in each run of a test, and others in another test."""
    import zlib

    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
