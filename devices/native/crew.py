"""Threads that help with inferences and are parked between them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from threading import Thread

from devices.native.kernels import Library, Words, scratch
from devices.native.kernels.team import Post, Team


class Crew:
    """`size` threads, the caller's one of them, which use one of its teams at a time. The others end with `close`, or when nobody refers to
    the crew any more."""

    def __init__(self, size: int, library: Library) -> None:
        self.size, self._library = size, library
        self._post = Post(size - 1)
        # Helpers keep the teams: one that is late may look at a team whose machine is gone.
        self._teams: list[Team] = []
        for number in range(1, size):
            Thread(target=_help, args=(self._post, library, number, self._teams), name=f"native-{number}", daemon=True).start()
        self.close = weakref.finalize(self, self._post.over)

    def teams(self, lists: Sequence[Sequence[tuple[str, Words, int]]], scratch_bytes: int) -> list[Team]:
        """A team for each list of calls (kernel, words, rows). They share scratch memory, so much for each thread."""
        memories = [scratch(scratch_bytes) for _ in range(self.size)]
        made = [Team(self._library, calls, memories, self._post) for calls in lists]
        self._teams += made if self.size > 1 else []
        return made

    def begin(self) -> None:
        """An inference begins: helpers wake up while its inputs are brought."""
        if self.size > 1:
            self._post.coming()

    def end(self) -> None:
        """The inference is over."""
        if self.size > 1:
            self._post.idle()


def _help(post: Post, library: Library, number: int, teams: list[Team]) -> None:
    post.attend(library, number)
    del teams
