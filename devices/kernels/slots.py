"""What `ace_free` and `ace_acquire` know of a pool: words of 64 bits at these places."""

from __future__ import annotations

GENERATIONS, HOLDS = 0, 1
"""Addresses: of the slots' generations, and of the first row of holds; all are words of 32 bits."""
SLOTS, ROWS, WIDTH = 2, 3, 4
"""Slots, rows of holds, and words from one row to the next."""
WORDS = 5
NONE = -1
