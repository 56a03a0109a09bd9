"""The vector kernels of the native engine.

- `catalogue(isa)` lists what is compiled for an instruction set: each `Kernel` with its words (the module `catalogue` describes all of
  them, `layout` the tensors); `ensure(isa)` compiles them once, ahead, in a process of its own.
- `pack` and `sites` make packed weights and window tables with NumPy; `tiles.choose` picks the tile.
- `library(isa)` loads the kernels; `Library.run(name, words, begin, end, scratch)` does rows begin … end, and any split gives the same
  result; `Library.walk` makes a list of calls that native code goes through, `team.Team` one that threads share.

Nothing here imports a compiler but `build` and what it starts.
"""

from devices.kernels import KernelError
from devices.native.kernels.catalogue import catalogue
from devices.native.kernels.kernel import Kernel, Words, address
from devices.native.kernels.layout import channel_stride
from devices.native.kernels.load import Library, ensure, library, scratch

__all__ = ["Kernel", "KernelError", "Library", "Words", "address", "catalogue", "channel_stride", "ensure", "library", "scratch"]
