"""The functions of the shared object: name, module of their numba source, and what each argument is.

An argument is an address (of int64 words, bytes, …: the kernel's docstring says) or an int64; both travel as 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """`module` has a numba function `function` of these arguments that returns nothing, or an int64 where there is a `result`.

    A `brief` one takes some nanoseconds: it is called without letting other Python threads in.
    """

    module: str
    function: str
    arguments: tuple[str, ...]
    result: bool = False
    brief: bool = False


SIGNATURES: Mapping[str, Signature] = {
    "ace_render": Signature("devices.kernels.source.pixels", "render", ("program", "planes", "outputs")),
    "ace_publish": Signature("devices.kernels.source.words", "publish", ("word", "value", "watched"), result=True, brief=True),
    "ace_observe": Signature("devices.kernels.source.words", "observe", ("word",), result=True, brief=True),
}
