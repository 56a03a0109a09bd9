"""A device with room for the memory that a new plan shares, and not for its workers beside the old ones."""

import sys

import devices.cpu

FREE = 30 << 20
really = devices.cpu.available_memory


def available_memory(*arguments):
    """So many bytes, where a switch asks."""
    asking = sys._getframe(1).f_globals["__name__"]
    return FREE if asking == "flow.switch.runtime" else really(*arguments)


devices.cpu.available_memory = available_memory
