"""The functions of the shared object: name, module of their numba source, and what each argument is.

An argument is an address (of int64 words, bytes, …: the kernel's docstring says) or an int64; both travel as 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """`module` has a numba function `function` of these arguments that returns nothing, or an int64 where there is a `result`.

    A `brief` one has a result and takes some nanoseconds: Python calls it like its own functions, without letting other threads in. (Where
    it sleeps, it lets them in itself.)
    """

    module: str
    function: str
    arguments: tuple[str, ...]
    result: bool = False
    brief: bool = False


def called(name: str) -> str:
    """Name of the function that the interpreter calls in the place of a brief one."""
    return f"{name}_called"


SIGNATURES: Mapping[str, Signature] = {
    "ace_render": Signature("devices.kernels.source.pixels", "render", ("program", "planes", "outputs")),
    "ace_publish": Signature("devices.kernels.source.words", "publish", ("word", "value", "watched"), result=True, brief=True),
    "ace_give": Signature(
        "devices.kernels.source.links", "give", ("link", "head", "pool_and_slot", "generation", "hold"), result=True, brief=True
    ),
    "ace_reap": Signature("devices.kernels.source.links", "reap", ("link",), result=True, brief=True),
    "ace_settle": Signature("devices.kernels.source.books", "settle", ("books",), result=True, brief=True),
    "ace_slot": Signature("devices.kernels.source.books", "slot", ("books",), result=True, brief=True),
    "ace_shot": Signature(
        "devices.kernels.source.books", "shot", ("books", "slot", "seq", "pts", "time", "capture"), result=True, brief=True
    ),
    "ace_next": Signature("devices.kernels.source.lane", "next_picture", ("lane",), result=True, brief=True),
    "ace_free": Signature("devices.kernels.source.slots", "free", ("pool",), result=True, brief=True),
    "ace_acquire": Signature("devices.kernels.source.slots", "acquire", ("pool",), result=True, brief=True),
    "ace_take": Signature("devices.kernels.source.links", "take", ("link", "head"), result=True, brief=True),
    "ace_enter": Signature("devices.kernels.source.counts", "enter", ("words", "node", "stream", "seq"), result=True, brief=True),
    "ace_leave": Signature("devices.kernels.source.counts", "leave", ("words", "places", "seq", "calls", "then"), result=True, brief=True),
    "ace_result": Signature(
        "devices.kernels.source.counts", "result", ("words", "places", "seq", "now", "latency"), result=True, brief=True
    ),
    "ace_observe": Signature("devices.kernels.source.words", "observe", ("word",), result=True, brief=True),
}
