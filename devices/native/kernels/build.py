"""Compiles the kernels of one instruction set into a shared object: `python -m devices.native.kernels.build ISA FILE`.

A process of its own, which ends afterwards: LLVM aborts on what it cannot do, takes memory, and keeps the interpreter waiting. The code is
position-independent and of the small code model; `devices.kernels.elf` links it without a linker, so that any machine can build for any
instruction set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from devices.kernels.elf import link
from devices.native.isa import Isa, isa
from devices.native.kernels.catalogue import catalogue
from devices.native.kernels.kernel import Kernel

ALIGNMENT = 6
"""Binary logarithm of where blocks of code begin that nothing falls through to: short loops run some percent slower across cache lines."""


def compile_kernels(target: Isa, *, checked: bool = False, report: Callable[[str], None] | None = None) -> bytes:
    """The shared object with the whole catalogue. Raises IsaError for a kernel that the instruction set cannot have, LinkError
    where one needs anything from outside."""
    kernels = catalogue(target)
    module, machine = translate(target, kernels.values(), checked=checked, report=report)
    return link(machine.emit_object(module), exports=tuple(kernels))


def assembly(target: Isa, kernels: Iterable[Kernel], *, checked: bool = False) -> str:
    """What LLVM makes of these kernels, as text."""
    module, machine = translate(target, kernels, checked=checked)
    return str(machine.emit_assembly(module))


def translate(
    target: Isa, kernels: Iterable[Kernel], *, checked: bool = False, report: Callable[[str], None] | None = None
) -> tuple[Any, Any]:
    """An optimised LLVM module with these kernels, and the target machine that it is for."""
    import llvmlite.binding as llvm
    from llvmlite import ir

    _align_code()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=0 if checked else 3, reloc="pic", codemodel="small"
    )
    written = ir.Module(target.name)
    written.triple, written.data_layout = target.triple, str(machine.target_data)
    for number, kernel in enumerate(kernels, 1):
        if report:
            report(f"writing kernel {number}: {kernel.name}")
        import_module(kernel.module).emit(written, target, kernel, checked=checked)
    module = llvm.parse_assembly(str(written))
    module.verify()
    if report:
        report(f"optimising for {target.name}")
    tuning = llvm.create_pipeline_tuning_options(speed_level=0 if checked else 3)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_interleaving = tuning.loop_unrolling = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    module.verify()
    return module, machine


@lru_cache(maxsize=1)
def _align_code() -> None:
    """LLVM takes an option once a process."""
    import llvmlite.binding as llvm

    llvm.set_option("", f"-align-all-nofallthru-blocks={ALIGNMENT}")


def main() -> int:
    """Compiles into the file named on the command line, one line of progress at a time on standard output."""
    parser = argparse.ArgumentParser(prog="python -m devices.native.kernels.build", description="compiles the kernels of the native engine")
    parser.add_argument("isa", help="instruction set, such as avx2")
    parser.add_argument("output", type=Path, help="where the shared object goes")
    parser.add_argument("--checked", action="store_true", help="kernels that trap on an access outside their buffers")
    given = parser.parse_args()
    given.output.write_bytes(compile_kernels(isa(given.isa), checked=given.checked, report=lambda text: print(text, flush=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
