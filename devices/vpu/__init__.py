"""The device `vpu`: integer-only programs for a fixed-point accelerator with a small memory of its own, and an emulation of it.

A program is made from the quantized intermediate representation of `devices.native`. It holds no float: tiles that fit the local memory,
steps that bring bytes in and out, and uint8 operators with int32 sums and fixed-point requantization (`fixed`).
"""
