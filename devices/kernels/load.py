"""Finds the built kernels and makes their functions callable. Imports no compiler; a worker calls `functions` and never builds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.kernels import cache
from devices.kernels.cache import KernelError

if TYPE_CHECKING:
    from devices.kernels.apart import Report


def ensure(report: Report | None = None) -> Path:
    """The shared object of this machine, built in a process of its own if it is not there yet.

    `report` gets a line of text for each step of a build. Two processes at once build it once. Raises KernelError.
    """
    say = report or (lambda text: None)
    found = cache.find()
    if found is not None:
        return found
    with cache.lock(lambda: say("another process is building the kernels, waiting for it")):
        return cache.find() or cache.install(_build(say))


@lru_cache(maxsize=1)
def functions() -> Mapping[str, Callable[..., Any]]:
    """The kernels by name; arguments are addresses and integers, and the interpreter is not held while one runs (but a brief one).

    Raises KernelError when they are not built.
    """
    from devices.kernels.signatures import SIGNATURES, called

    found = cache.find()
    if found is None:
        raise KernelError("the kernels are not built for this machine; call devices.kernels.ensure() before frames flow")
    try:
        library = ctypes.CDLL(str(found))
    except OSError as error:
        raise KernelError(f"the built kernels {found} cannot be loaded ({error}); delete {found.parent} and build again") from None
    result: dict[str, Callable[..., Any]] = {}
    for name, signature in SIGNATURES.items():
        if signature.brief:
            result[name] = _builtin(library, called(name))
            continue
        function = getattr(library, name)
        function.argtypes = [ctypes.c_int64] * len(signature.arguments)
        function.restype = ctypes.c_int64 if signature.result else None
        result[name] = function
    return result


class _Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


METH_FASTCALL = 0x80
_methods: list[_Method] = []
"""The interpreter keeps pointers to them."""


def _builtin(library: ctypes.CDLL, name: str) -> Callable[..., Any]:
    """A function of the library as one of the interpreter's own: a call costs a sixth of one through ctypes."""
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p)
    method = _Method(name.encode(), address, METH_FASTCALL, None)
    _methods.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p], ctypes.py_object
    made: Callable[..., Any] = make(ctypes.addressof(method), None, None)
    return made


def _build(say: Report) -> bytes:
    from devices.kernels.apart import compile_apart

    return compile_apart("devices.kernels.build", lambda output: [str(output)], "building the kernels for this machine", say)
