"""Compiles every kernel into one shared object: `python -m devices.kernels.build`. A process of its own, which ends afterwards.

numba types the sources and gives LLVM IR without optimising it; LLVM then optimises the whole for this machine's CPU as
position-independent code of the small code model (numba's own objects would need text relocations), and `elf.link` makes the shared
object without a linker.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from devices.kernels.elf import link
from devices.kernels.signatures import SIGNATURES, Signature, called

LIBC = frozenset({"memset", "memcpy", "memmove", "clock_gettime", "write", "epoll_wait", "sched_yield"})
"""What LLVM may call on its own, and what `source.system` calls; anything else that a kernel needs from outside is refused."""
PYTHON = frozenset({"PyLong_AsLongLong", "PyLong_FromLongLong", "PyErr_BadArgument", "PyEval_SaveThread", "PyEval_RestoreThread"})
"""What brief functions need of the interpreter that calls them, which has them in its stable ABI."""


def compile_kernels(report: Any = None) -> bytes:
    """The shared object with all of SIGNATURES. Raises ValueError when a kernel needs a symbol from outside LIBC.

    Must run before numba is imported: it sets numba's options for the whole process.
    """
    say = report or (lambda text: None)
    os.environ["NUMBA_OPT"] = "0"
    os.environ["NUMBA_DISABLE_JIT"] = "0"
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # Rows of many planes are told apart at run time; the default gives up on vector code beyond eight comparisons.
    llvm.set_option("ace", "-runtime-memory-check-threshold=64")
    module: Any = None
    for number, (name, signature) in enumerate(SIGNATURES.items(), 1):
        say(f"compiling kernel {number} of {len(SIGNATURES)}: {signature.function}")
        part = _typed(llvm, name, signature)
        if module is None:
            module = part
        else:
            module.link_in(part)
    exports = [*SIGNATURES, *(called(name) for name, signature in SIGNATURES.items() if signature.brief)]
    for function in module.functions:
        if not function.is_declaration and function.name not in exports:
            function.linkage = "internal"
    machine = _machine(llvm)
    say(f"optimising for {llvm.get_host_cpu_name()}")
    _optimise(llvm, machine, module)
    needed = {function.name for function in module.functions if function.is_declaration and not function.name.startswith("llvm.")}
    if not needed <= LIBC | PYTHON:
        raise ValueError(f"kernels may call nothing but {', '.join(sorted(LIBC))}, got {', '.join(sorted(needed - LIBC - PYTHON))}")
    say("linking")
    return link(machine.emit_object(module), exports=tuple(exports), externals=LIBC | PYTHON)


def _machine(llvm: Any) -> Any:
    target = llvm.Target.from_triple(llvm.get_process_triple())
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, reloc="pic", codemodel="small")


def _optimise(llvm: Any, machine: Any, module: Any) -> None:
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    tuning.slp_vectorization = True
    tuning.loop_interleaving = True
    tuning.loop_unrolling = True
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    module.verify()


def _typed(llvm: Any, name: str, signature: Signature) -> Any:
    """An LLVM module with the kernel and a C function `name` around it."""
    from llvmlite import ir
    from numba import types

    function = getattr(import_module(signature.module), signature.function)
    function.compile((types.int64,) * len(signature.arguments))
    (result,) = function.overloads.values()
    module = llvm.parse_assembly(result.library.get_llvm_str())

    # numba's own convention: status returned, result and exception through the first two pointers. No kernel raises.
    word, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
    wrapper = ir.Module(name)
    wrapper.triple = module.triple
    wrapper.data_layout = module.data_layout
    given = word if signature.result else pointer
    inner_type = ir.FunctionType(ir.IntType(32), [given.as_pointer(), pointer.as_pointer(), *[word] * len(signature.arguments)])
    inner = ir.Function(wrapper, inner_type, result.fndesc.llvm_func_name)
    outer = ir.Function(wrapper, ir.FunctionType(word if signature.result else ir.VoidType(), [word] * len(signature.arguments)), name)
    builder = ir.IRBuilder(outer.append_basic_block())
    answer = builder.alloca(given)
    builder.call(inner, [answer, builder.alloca(pointer), *outer.args])
    if signature.result:
        builder.ret(builder.load(answer))
    else:
        builder.ret_void()
    if signature.brief:
        _callable(wrapper, outer, len(signature.arguments))
    module.link_in(llvm.parse_assembly(str(wrapper)))
    return module


def _callable(module: Any, kernel: Any, count: int) -> None:
    """A function beside the kernel that the interpreter calls directly (METH_FASTCALL): `count` Python integers in, one out."""
    from llvmlite import ir

    word, thing = ir.IntType(64), ir.IntType(8).as_pointer()
    as_word = ir.Function(module, ir.FunctionType(word, [thing]), "PyLong_AsLongLong")
    from_word = ir.Function(module, ir.FunctionType(thing, [word]), "PyLong_FromLongLong")
    refuse = ir.Function(module, ir.FunctionType(ir.IntType(32), []), "PyErr_BadArgument")
    call = ir.Function(module, ir.FunctionType(thing, [thing, thing.as_pointer(), word]), called(kernel.name))
    builder = ir.IRBuilder(call.append_basic_block())
    _, arguments, given = call.args
    with builder.if_then(builder.icmp_signed("!=", given, ir.Constant(word, count)), likely=False):
        builder.call(refuse, [])
        builder.ret(ir.Constant(thing, None))
    words = [builder.call(as_word, [builder.load(builder.gep(arguments, [ir.Constant(word, place)]))]) for place in range(count)]
    builder.ret(builder.call(from_word, [builder.call(kernel, words)]))


def main() -> int:
    """Compiles into the file named on the command line, one line of progress at a time on standard output."""
    parser = argparse.ArgumentParser(prog="python -m devices.kernels.build", description="compiles the kernels of this installation")
    parser.add_argument("output", type=Path, nargs="?", help="where the shared object goes (default: the cache)")
    output = parser.parse_args().output

    def say(text: str) -> None:
        print(text, flush=True)

    if output is None:
        from devices.kernels.load import ensure

        say(f"kernels: {ensure(say)}")
    else:
        output.write_bytes(compile_kernels(say))
    return 0


if __name__ == "__main__":
    sys.exit(main())
