"""What native steps know of a link that carries pictures: words of 64 bits at these places, written by one worker alone."""

from __future__ import annotations

BASE, PLACES, STRIDE = 0, 1, 2
"""Address of the ring's records, how many there are, bytes from one to the next."""
OWN_WORD, OTHER_WORD, WATCHED = 3, 4, 5
"""Addresses: the count that we publish, the one that the other end does, the word of its bell."""
COUNT, SEEN = 6, 7
"""Entries that we have published or taken; the other end's count as last seen."""
TURN, STEP = 8, 13
"""Number of the next entry, and by how much the numbers rise: replicas are dealt every so-manieth."""
PICTURE = 9
"""Address of what travels of a picture beside its slot: what is given, or what came last."""
CREDITS, HOLDS = 10, 11
"""Giving: entries that may be under way; address of a word for each place: where we hold what is under way there (0: nothing)."""
POOLS, POOL_TABLE = 10, 11
"""Taking: pools that are known; address of three words for each: number, address of its generations, slots."""
POOL_WORDS = 3
DONE = 12
"""Giving: how many pictures the other end has finished with."""
BELL = 14
"""The other end's bell: an eventfd."""
REST = 15
"""Taking: address of the word that says what we sleep for, or 0: who takes a picture sleeps no more."""
COUNTED = 16
"""Entries given or taken that the ledger knows of."""
GIVEN, OUT = 17, 18
"""Giving: pictures given, and of these finished with, as the ledger knows."""
SETTLED, FINISHED = 17, 18
"""Taking: number of the entry after the last that was settled; entries that the other end knows we have finished with."""
LAST = 19
"""Giving: when the last frame was captured, or else others had run for it (monotonic ns)."""
WORDS = 20
APART_NS = 1_000_000
"""Between frames that are further apart there is time to let those who were woken for one begin with it."""

FLAGS, STREAM, EPOCH, SEQ, PTS, TIME, CAPTURE = range(7)
"""Words of a frame's head."""
HEAD_WORDS = 7

RECORD_BYTES, HEAD_BYTES, ITEM_BYTES, PICTURE_BYTES = 16, 44, 24, 60
"""Layout of an entry as `flow.entry` and `flow.link.ring` define it."""
ENTRY_BYTES = HEAD_BYTES + ITEM_BYTES + PICTURE_BYTES
FOR_ROOM = 2
"""What the word of a bell says when its owner also sleeps for what was finished with; above 0 it sleeps for entries."""
NOTHING, RARE, NEW_PICTURE = -1, -2, 1
"""What `ace_take` answers when there is no entry, or another than one picture; and the flag of a picture unlike the last."""
SLOT_SHIFT, POOL_SHIFT = 1, 32
