import ctypes
import mmap

import numpy as np
import pytest

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Fence:
    """Memory that touches, at its end or its start, a page that nobody may read or write."""

    def __init__(self):
        self._maps = []

    def array(self, shape, dtype=np.uint8, *, at_start=False):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        pages = -(-size // PAGE) * PAGE
        base = LIBC.mmap(None, pages + 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        assert base not in (None, ctypes.c_void_p(-1).value)
        self._maps.append((base, pages + 2 * PAGE))
        assert LIBC.mprotect(base, PAGE, 0) == 0
        assert LIBC.mprotect(base + PAGE + pages, PAGE, 0) == 0
        start = base + PAGE + (0 if at_start else pages - size)
        return np.frombuffer((ctypes.c_uint8 * size).from_address(start), np.uint8).view(dtype).reshape(shape)

    def close(self):
        for base, size in self._maps:
            LIBC.munmap(base, size)
        self._maps.clear()


@pytest.fixture
def fence():
    made = Fence()
    yield made
    made.close()


@pytest.fixture(scope="session", autouse=True)
def kernels():
    """Builds the kernels for the tests of this folder, once for all sessions of this machine."""
    import devices.kernels

    devices.kernels.ensure()
