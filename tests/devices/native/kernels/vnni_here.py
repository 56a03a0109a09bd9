"""The byte products of AVX-512 VNNI for a machine without it: `vpdpbusd` spelled out, everything else (packing, tiles, order) as it is.

Run as a program it writes the shared object to the file named on the command line.
"""

import sys
from dataclasses import replace
from pathlib import Path

from devices.native.isa import ISAS
from devices.native.kernels import catalogue

_REAL = ISAS["avx512vnni"]
HERE = replace(_REAL, cpu="x86-64-v3", features="", provides=_REAL.provides - {"avx512"})
KERNELS = {name: kernel for name, kernel in catalogue(HERE).items() if name.startswith("gemm_u8")}

if __name__ == "__main__":
    from devices.kernels.elf import link
    from devices.native.kernels import build, dots
    from devices.native.kernels.emit import i32

    def dot(self, code, wide, total, quad, column):
        code.isa.require(f"vpdpbusd.{self.bits}")
        products = code.unsigned(quad, i32) * code.signed(column, i32)
        for k in range(4):
            total = total + code.shuffle(products, products, range(k, 4 * self.lanes, 4))
        return total

    dots.Quads.dot = dot
    module, machine = build.translate(HERE, KERNELS.values(), checked=True)
    Path(sys.argv[1]).write_bytes(link(machine.emit_object(module), exports=tuple(KERNELS)))
