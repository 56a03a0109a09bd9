"""What `ace_settle`, `ace_shot` and `ace_next` know of a chain: words of 64 bits at these places, written by one worker alone."""

from __future__ import annotations

BLOCK, JOURNAL, HEAD = 0, 1, 2
"""Addresses: words of the worker's block, its journal, the head of the frame that the chain is at."""
CHANGES, OTHERS = 3, 4
"""Address of pairs (word of the block, value) that are settled together, and how many of them stand there already."""
NEXT_SEQ, LAST_PTS = 5, 6
"""Of a chain with a source: words of the block that a successor goes on from; else -1."""
IN_LINK = 7
"""Address of the link that frames come from, or 0."""
IN, OUT, IN_TURN, IN_SETTLED = 8, 9, 10, 11
"""Its words of the block."""
OUTS, OUT_TABLE = 12, 13
"""Links that frames go to, and address of so many words for each."""
OUT_LINK, OUT_IN, OUT_OUT, OUT_IN_FLIGHT, OUT_TURN, OUT_SETTLED, OUT_WORDS = range(7)
SHOTS_IN, SHOTS_OUT = 14, 15
"""Of a chain with a source: words of the block that count what was read, and what has gone on."""
SHOTS = 16
"""Frames that a source has given and the ledger does not know of."""
POOL, POOL_NUMBER = 17, 18
"""Address of the words (`slots`) of the pool that a source's pictures lie in, and its number."""
WORDS = 19
