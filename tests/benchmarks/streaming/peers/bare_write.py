"""A loop that writes whole frames into so many slots of shared memory and does nothing else: `python bare_write.py NBYTES SLOTS SECONDS`.

Prints frames a second.
"""

from __future__ import annotations

import mmap
import os
import sys
import time

import numpy as np
from ace_bench_camera import Camera

nbytes, slots, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
fd = os.memfd_create("slots")
os.posix_fallocate(fd, 0, nbytes * slots)
memory = np.frombuffer(mmap.mmap(fd, nbytes * slots), np.uint8).reshape(slots, nbytes)
memory.fill(0)
eye = Camera(0, seconds, True)
started = time.monotonic()
while eye.wait():
    eye.shoot(memory[eye.number % slots])
print(eye.number / (time.monotonic() - started))
