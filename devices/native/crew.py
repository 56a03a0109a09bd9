"""Threads that help with inferences and are parked between them."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
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
        self._helpers = [
            Thread(target=_help, args=(self._post, library, number, self._teams), name=f"native-{number}", daemon=True)
            for number in range(1, size)
        ]
        for helper in self._helpers:
            helper.start()
        self._core = -1
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
            if (core := _core_of_this_thread()) != self._core:
                self._core = core
                self._leave(core)
            self._post.coming()

    def _leave(self, core: int) -> None:
        """Helpers keep off the caller's core, where some schedulers wake them: those of guests, to whom a halted core looks busy."""
        others = os.sched_getaffinity(0) - {core}
        if len(others) >= len(self._helpers):
            for helper in self._helpers:
                assert helper.native_id is not None
                with suppress(OSError):  # it has ended, or this system does not let us
                    os.sched_setaffinity(helper.native_id, others)

    def end(self) -> None:
        """The inference is over."""
        if self.size > 1:
            self._post.idle()


_core_of_this_thread = ctypes.CDLL(None).sched_getcpu


def _help(post: Post, library: Library, number: int, teams: list[Team]) -> None:
    post.attend(library, number)
    del teams
