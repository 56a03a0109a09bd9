"""What `ace_next` knows of a worker whose only chain takes pictures from one link: words of 64 bits at these places."""

from __future__ import annotations

BOOKS = 0
"""Address of the chain's words (`books`)."""
FRAMES, ROOM, MOST = 1, 2, 15
"""Frames taken that are not settled; how many may be, for the room that links have; how many at most."""
SINCE, LONGEST_NS = 3, 4
"""When the first of them was taken (monotonic ns); after so long they are settled."""
END, LISTEN_NS = 5, 6
"""When the worker must look at everything else: so long after it slept last."""
SHORT, LOOK_NS = 7, 8
"""Whether the last sleep took no longer than it is worth looking out for the next entry instead; how long that is."""
BELL, BELL_WORD = 9, 10
"""The worker's own bell: an eventfd, and the address of the word that says what it sleeps for."""
EPOLL, TIMEOUT_MS, EVENTS, EVENT_DESCRIPTOR = 11, 12, 13, 14
"""What the worker waits on (-1: it does not wait), for how long, where events go, and which 32 bits of an event name its descriptor."""
WORDS = 16
MOST_EVENTS, EVENT_BYTES = 8, 16
FULL, LATE = -3, -4
"""What `ace_next` answers beside pictures, NOTHING (something else has happened, or may have) and RARE: no room; it must look at
everything else.
"""
