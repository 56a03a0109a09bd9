import os
import re
import shutil
from dataclasses import replace

import pytest

from devices.kernels import KernelError, cache
from devices.native.isa import ISAS, best, runnable
from devices.native.kernels import answers, catalogue, ensure, library
from devices.native.kernels.kernel import Kernel

QEMU = os.environ.get("ACE_QEMU_AARCH64") or shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_built_once_and_again_when_damaged(empty_cache):
    lines = []
    path = ensure(ISAS["portable"], checked=True, report=lines.append)
    assert lines[0].startswith("building the kernels for portable")
    lines.clear()
    assert ensure(ISAS["portable"], checked=True, report=lines.append) == path
    assert not lines
    path.write_bytes(path.read_bytes()[:-1])
    assert ensure(ISAS["portable"], checked=True, report=lines.append) == path
    assert lines


def test_kernels_that_are_not_built_are_not_loaded(empty_cache):
    library.cache_clear()
    with pytest.raises(KernelError, match=re.escape("call devices.native.kernels.ensure()")):
        library(best(), checked=True)
    library.cache_clear()


def test_known_answers_find_a_kernel_that_saturates():
    ensure(best())
    loaded = library(best())
    assert list(answers.wrong(loaded)) == []
    names = [name for name in loaded.kernels if name.endswith("_pairsafe")]
    if not names:
        pytest.skip(f"{best().name} has no kernel that saturates")

    class Swapped:
        """The fast kernel for pair-safe weights in the place of the exact one of a set that packs alike."""

        isa = replace(loaded.isa, dot="vpdpbusd", vector=32)
        kernels = {name.removesuffix("_pairsafe"): loaded.kernels[name] for name in names}

        @staticmethod
        def run(name, words, begin, end, scratch=None):
            loaded.run(name, words, begin, end, scratch)

    assert set(answers.wrong(Swapped)) == set(Swapped.kernels)


def test_known_answers_are_asked_once_a_cpu(monkeypatch, tmp_path):
    built = ensure(best())
    folder = tmp_path / "cache" / "kernels"
    folder.mkdir(parents=True)
    shutil.copytree(built.parent, folder / built.parent.name, ignore=shutil.ignore_patterns("answers-*"))
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "cache"))
    asked = []

    def wrong(loaded):
        asked.append(loaded)
        return iter(["gemm_u8_8"] if len(asked) in (1, 3) else [])

    monkeypatch.setattr(answers, "wrong", wrong)
    cpus = iter([["one"], ["one"], ["one"], ["other"]])
    monkeypatch.setattr(cache, "cpu", lambda: next(cpus))
    for refused in (True, False, False, True):
        library.cache_clear()
        if refused:
            with pytest.raises(KernelError, match="other numbers from gemm_u8_8"):
                library(best())
        else:
            library(best())
    library.cache_clear()
    assert len(asked) == 3


def test_every_instruction_set_has_the_same_kernels_but_tiles():
    names = [{re.sub(r"^(gemm_\w+?)_\d+(_pairsafe)?$", r"\1", name) for name in catalogue(isa)} for isa in ISAS.values()]
    assert all(found == names[0] for found in names)


def test_words_by_name():
    kernel = Kernel("k", "m", ("x",), ("count", "scale"))
    words = kernel.words(count=3, scale=1.0)
    assert words.values.tolist() == [0, 0, 3, 0x3F800000]
    with pytest.raises(TypeError, match="did you mean count"):
        kernel.words(counts=3)


def test_what_is_not_run_here():
    """Says which instruction sets the other tests leave out on this machine."""
    left = [name for name, isa in ISAS.items() if isa not in runnable() and not (isa.triple.startswith("aarch64") and QEMU)]
    if left:
        pytest.skip(f"no kernels of {', '.join(left)} run here (AArch64 needs qemu-aarch64 of Debian's qemu-user, or ACE_QEMU_AARCH64)")
