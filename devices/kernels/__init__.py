"""Kernels compiled ahead: `ensure` builds them once (in a process of its own), a worker only loads them."""

from devices.kernels.cache import KernelError
from devices.kernels.load import ensure, functions

__all__ = ["KernelError", "ensure", "functions"]
