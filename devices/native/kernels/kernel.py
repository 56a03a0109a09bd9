"""What a kernel is to its caller: a name, the words that it reads, and what a row of it is. Imports no compiler."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

ARGUMENTS = ("words", "begin", "end", "scratch")
"""Of each function: address of its int64 words, first row and end of rows to do, address of this thread's scratch memory."""


@dataclass(frozen=True, slots=True)
class Words:
    """int64 `values` that a kernel reads, and the arrays that they point into, kept alive."""

    values: np.ndarray
    kept: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function `name(words, begin, end, scratch)` of the shared object; every argument is an int64.

    `words` are, for each of `buffers`, its address and its size in bytes, then `numbers`. `module` emits it, told `variant`. Rows are
    independent: any split of a range gives the same results. A kernel that uses scratch memory has a number `scratch_bytes`. One that stays
    `within` its buffers reads nothing past their end.
    """

    name: str
    module: str
    buffers: tuple[str, ...]
    numbers: tuple[str, ...]
    variant: tuple[int | str, ...] = ()
    within: bool = False

    def __post_init__(self) -> None:
        assert len(set(self.fields)) == len(self.fields), f"{self.name} has two words of one name"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the words in their order; the size of buffer `a` is `a_bytes`."""
        return (*(name for buffer in self.buffers for name in (buffer, f"{buffer}_bytes")), *self.numbers)

    def words(self, **values: np.ndarray | float | int | None) -> Words:
        """The words. A buffer is given as a contiguous array, as None where it is not used, or as an address and its `_bytes`.

        A float number is kept as the bits of a float32; numbers that are left out are 0. Raises TypeError for a name that the kernel does
        not know, ValueError for an array with gaps.
        """
        fields = self.fields
        result = np.zeros(len(fields), np.int64)
        kept = []
        for name, value in values.items():
            if name not in fields:
                near = get_close_matches(name, fields, 1)
                raise TypeError(
                    f"{self.name}: expected words among {', '.join(fields)}, got {name!r}" + (f"; did you mean {near[0]}?" if near else "")
                )
            at = fields.index(name)
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    raise ValueError(f"{self.name}: expected {name} to be contiguous, got strides {value.strides} for shape {value.shape}")
                result[at : at + 2] = address(value), value.nbytes
                kept.append(value)
            elif isinstance(value, float):
                result[at] = np.float32(value).view(np.int32)
            elif value is not None:
                result[at] = value
        return Words(result, tuple(kept))


def address(array: np.ndarray) -> int:
    """Where the array's first element lies."""
    return int(array.__array_interface__["data"][0])
