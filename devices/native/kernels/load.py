"""Builds the kernels once, in a process of its own, and makes them callable. Imports no compiler."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from devices.kernels import KernelError, cache
from devices.kernels.versions import version
from devices.native.isa import Isa, best
from devices.native.kernels.catalogue import catalogue
from devices.native.kernels.kernel import ARGUMENTS, Kernel, Words, address
from devices.native.kernels.layout import SCRATCH_ALIGN

if TYPE_CHECKING:
    from devices.kernels.apart import Report


class Library:
    """The loaded kernels of one instruction set. Calls release the interpreter; two threads may call at once with scratch of their own."""

    def __init__(self, isa: Isa, path: Path, kernels: Mapping[str, Kernel] | None = None) -> None:
        self.isa, self.path = isa, path
        self.kernels = dict(catalogue(isa) if kernels is None else kernels)
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise KernelError(f"the built kernels {path} cannot be loaded ({error}); delete {path.parent} and build again") from None
        self.functions: dict[str, Callable[..., None]] = {}
        for name in self.kernels:
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_int64] * len(ARGUMENTS), None
            self.functions[name] = function

    def address(self, name: str) -> int:
        """Where the kernel's code lies, for op tables that native code walks."""
        return int(ctypes.cast(self.functions[name], ctypes.c_void_p).value or 0)  # type: ignore[arg-type]

    def run(self, name: str, words: Words, begin: int, end: int, scratch: np.ndarray | None = None) -> None:
        """Rows begin … end of the kernel; `scratch` (of `scratch`) is this thread's."""
        self.functions[name](address(words.values), begin, end, 0 if scratch is None else address(scratch))

    def walk(self, calls: Sequence[tuple[str, Words, int, int]]) -> Words:
        """The words of the kernel `walk` for these calls (kernel, words, begin, end): run rows 0 … len(calls) of it."""
        values = np.array([[self.address(name), address(words.values), begin, end] for name, words, begin, end in calls], np.int64)
        return Words(values, tuple(array for _, words, _, _ in calls for array in (words.values, *words.kept)))


def scratch(size: int) -> np.ndarray:
    """uint8 memory for one thread's kernels that starts on a cache line."""
    memory = np.zeros(size + SCRATCH_ALIGN, np.uint8)
    start = -address(memory) % SCRATCH_ALIGN
    return memory[start : start + size]


def ensure(isa: Isa | None = None, *, checked: bool = False, report: Report | None = None) -> Path:
    """The shared object for this instruction set (default: this machine's best), built in a process of its own if it is not there yet.

    `checked` kernels trap on an access outside their buffers. Two processes at once build it once. Raises KernelError.
    """
    say = report or (lambda text: None)
    target = isa or best()
    found = cache.find(entry(target, checked))
    if found is not None:
        return found
    with cache.lock(lambda: say("another process is building kernels, waiting for it")):
        return cache.find(entry(target, checked)) or cache.install(_build(target, checked, say), entry(target, checked))


@lru_cache(maxsize=8)
def library(isa: Isa | None = None, *, checked: bool = False) -> Library:
    """The kernels, loaded. Before they are first trusted on this CPU they are held to known answers.

    Raises KernelError when they are not built, or answer wrongly.
    """
    target = isa or best()
    found = cache.find(entry(target, checked))
    if found is None:
        raise KernelError(f"the kernels for {target.name} are not built; call devices.native.kernels.ensure() before frames flow")
    loaded = Library(target, found)
    trusted = found.with_name(f"answers-{hashlib.sha256(repr(cache.cpu()).encode()).hexdigest()[:16]}")
    if trusted.exists():
        return loaded
    from devices.native.kernels import answers

    if bad := list(answers.wrong(loaded)):
        raise KernelError(
            f"expected the kernels for {target.name} to give what NumPy gives, got other numbers from {', '.join(bad)}; "
            f"delete {found.parent} and build again, or use the engine onnxruntime on this machine"
        )
    with suppress(OSError):
        trusted.touch(mode=0o600)
    return loaded


@lru_cache(maxsize=1)
def _sources() -> bytes:
    """Digest of all that decides what kernels become, but the instruction set."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for source in [*sorted(here.glob("*.py")), here.parent / "isa.py", here.parents[1] / "kernels" / "elf.py"]:
        digest.update(f"{source.name}\0".encode() + hashlib.sha256(source.read_bytes()).digest())
    digest.update(version("llvmlite").encode())
    return digest.digest()


def entry(isa: Isa, checked: bool = False) -> str:
    """The name of these kernels in the cache: other sources, compiler or instruction set, another name."""
    digest = hashlib.sha256(_sources() + repr((isa.name, isa.triple, isa.cpu, isa.features, checked)).encode())
    return f"native-{isa.name}-{digest.hexdigest()[:32]}"


def _build(isa: Isa, checked: bool, say: Report) -> bytes:
    from devices.kernels.apart import compile_apart

    flags = ["--checked"] if checked else []
    return compile_apart(
        "devices.native.kernels.build", lambda output: [isa.name, str(output), *flags], f"building the kernels for {isa.name}", say
    )
