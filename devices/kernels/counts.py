"""What `ace_enter`, `ace_leave` and `ace_result` know of a worker's block: words of 64 bits at these places."""

from __future__ import annotations

NODE, STREAM, SEQ, SINCE = 1, 2, 3, 4
"""What the worker is at, and since when (monotonic ns); node -1: at nothing."""
BUCKETS = 208
RESULTS, MOST, LAST, GAP, COMING, LATENCIES = range(6)
"""Of a sink: which words count; the last is the first of `BUCKETS`."""
BOUNDS = LATENCIES + BUCKETS
"""After them the upper bounds of the buckets."""
