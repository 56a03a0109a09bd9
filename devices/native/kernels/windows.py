"""Pooling over windows: maximum and mean of uint8 and float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from devices.native.isa import Isa
from devices.native.kernels import strips
from devices.native.kernels.emit import Region, Value, f32, i8, i32, vector
from devices.native.kernels.frame import Frame, Sites
from devices.native.kernels.kernel import Kernel
from devices.native.kernels.layout import CHANNELS
from devices.native.kernels.requantize import scaled


def emit(module: Any, isa: Isa, kernel: Kernel, *, checked: bool) -> None:
    """Writes the kernel into the module."""
    _Pool(Frame(module, isa, kernel, checked=checked), str(kernel.variant[0])).write()


class _Pool:
    def __init__(self, frame: Frame, form: str) -> None:
        self.frame, self.code, self.form = frame, frame.code, form
        self.size = 4 if form.endswith("f32") else 1
        self.x, self.out = frame.buffer("x"), frame.buffer("out")
        self.sites = Sites(frame, self.x, frame.begin * self.code.greatest(frame.number("width_out"), 1))

    def write(self) -> None:
        code, sites = self.code, self.sites
        channels, stride_out = self.frame.number("channels"), self.frame.number("stride_out")
        start, add, finish = {
            "max_u8": (self._zeros_u8, self._higher, self._keep),
            "mean_u8": (self._sums_u8, self._count, self._mean_u8),
            "max_f32": (self._lowest_f32, self._greater, self._keep_f32),
            "mean_f32": (self._zeros_f32, self._sum, self._mean_f32),
        }[self.form]
        with code.each(self.frame.begin, self.frame.end) as row:
            with code.each(0, sites.width) as x, code.each(0, channels, CHANNELS) as c:
                cells = [code.variable(value, value.type) for value in start()]
                with code.each(0, sites.taps_y) as ky:
                    across = sites.row(ky)
                    with code.each(0, sites.taps_x) as kx:
                        place = sites.tap(across, sites.column(kx, x)) + c * self.size
                        for cell, value in zip(cells, add([cell.get() for cell in cells], place), strict=True):
                            cell.set(value)
                target = self.out + ((row * sites.width + x) * stride_out + c * self.size)
                finish([cell.get() for cell in cells], target, sites.y.get() * sites.width + x)
            sites.next_row()
        code.finish()

    def _splat(self, value: float, kind: Any) -> list[Value]:
        count = strips.width(self.code)
        return [self.code.const(vector(kind, count), value)] * (CHANNELS // count)

    # Starts

    def _zeros_u8(self) -> list[Value]:
        return [self.code.const(vector(i8, CHANNELS), 0)]

    def _sums_u8(self) -> list[Value]:
        bias = self.code.splat(self.frame.number("bias", i32), strips.width(self.code))
        return [bias] * (CHANNELS // strips.width(self.code))

    def _lowest_f32(self) -> list[Value]:
        return self._splat(float("-inf"), f32)

    def _zeros_f32(self) -> list[Value]:
        return self._splat(0.0, f32)

    # One tap

    def _higher(self, cells: Sequence[Value], place: Region) -> list[Value]:
        return [self.code.higher(cells[0], self.code.load(vector(i8, CHANNELS), place))]

    def _count(self, cells: Sequence[Value], place: Region) -> list[Value]:
        values = strips.bytes_as_ints(self.code, self.code.load(vector(i8, CHANNELS), place))
        return [cell + value for cell, value in zip(cells, values, strict=True)]

    def _floats(self, cells: Sequence[Value], place: Region, join: Callable[[Value, Value], Value]) -> list[Value]:
        return [join(cell, value) for cell, value in zip(cells, strips.load_floats(self.code, place), strict=True)]

    def _greater(self, cells: Sequence[Value], place: Region) -> list[Value]:
        return self._floats(cells, place, lambda a, b: self.code.greatest(b, a))

    def _sum(self, cells: Sequence[Value], place: Region) -> list[Value]:
        return self._floats(cells, place, lambda a, b: a + b)

    # Ends

    def _keep(self, cells: Sequence[Value], target: Region, pixel: Value) -> None:
        self.code.store(cells[0], target)

    def _keep_f32(self, cells: Sequence[Value], target: Region, pixel: Value) -> None:
        strips.store_floats(self.code, cells, target)

    def _scale(self, pixel: Value) -> Value:
        return self.code.splat(self.code.load(f32, self.frame.buffer("scale"), pixel << 2), strips.width(self.code))

    def _mean_u8(self, cells: Sequence[Value], target: Region, pixel: Value) -> None:
        scale = self._scale(pixel)
        strips.store_bytes(self.code, strips.output(self.frame), [scaled(self.code, cell, scale) for cell in cells], target)

    def _mean_f32(self, cells: Sequence[Value], target: Region, pixel: Value) -> None:
        scale = self._scale(pixel)
        strips.store_floats(self.code, [cell * scale for cell in cells], target)
