"""Threads that go through one list of kernel calls together, sharing out the rows of each call as they come."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from devices.native.kernels.catalogue import COMING, IDLE, LINE, OVER, PLACE_WORDS
from devices.native.kernels.kernel import Words, address
from devices.native.kernels.load import Library, scratch

FINEST = 16
"""Grains of rows a thread and call, at most."""

TAKES = 4
"""Parts of a thread's share of panels, about."""

SEMAPHORE_BYTES = 32
"""Of the C library's, on every 64-bit machine."""


class Post:
    """Where `helpers` threads are woken for the rounds of teams. They spin inside an inference only, and are parked otherwise."""

    def __init__(self, helpers: int) -> None:
        assert SEMAPHORE_BYTES <= LINE
        self.helpers = helpers
        self._memory = _lines(1 + helpers)
        self._semaphores = [address(line) for line in self._memory[1:]]
        # The interpreter is kept: nothing here takes longer than giving it away would.
        self._wake = ctypes.PyDLL(None).sem_post
        self._wake.argtypes = [ctypes.c_void_p]
        make = ctypes.PyDLL(None).sem_init
        make.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint]
        for each in self._semaphores:
            make(each, 0, 0)

    def coming(self) -> None:
        """A round will be opened soon: helpers wake up meanwhile, and wait for a time."""
        self._memory[0, 1] = COMING
        self._wake_all()

    def idle(self) -> None:
        """No round will be opened for a time."""
        self._memory[0, 1] = IDLE

    def over(self) -> None:
        """Helpers end."""
        self._memory[0, 1] = OVER
        self._wake_all()

    def attend(self, library: Library, helper: int) -> None:
        """What helper 1, 2, … does until it is over."""
        words = library.kernels["attend"].words(
            post=self._memory, thread=helper, wait=_address("sem_wait"), give_way=_address("sched_yield")
        )
        library.run("attend", words, 0, 0)

    def leader(self, library: Library, team: np.ndarray) -> Words:
        """The words of the thread that opens rounds of a team."""
        return library.kernels["lead"].words(post=self._memory, team=team, helpers=self.helpers, wake=_address("sem_post"))

    def _wake_all(self) -> None:
        for each in self._semaphores:
            self._wake(each)


class Team:
    """`calls` (kernel, words, rows) run in order by a thread for each of `scratches` (its scratch memory): the caller of `run`, and the
    helpers of `post`. Nobody waits for a thread that has not begun: helpers may come late or not at all. Results are identical for any
    number of threads.
    """

    def __init__(self, library: Library, calls: Sequence[tuple[str, Words, int]], scratches: Sequence[np.ndarray], post: Post) -> None:
        assert len(scratches) == 1 + post.helpers
        self._library, self._scratches = library, scratches
        if post.helpers:
            self._states = _lines(len(calls) * (1 + len(scratches))).reshape(len(calls), -1)
            self._places = _lines(1 + len(scratches))
            self._lists = [self._shared(calls, number, len(scratches)) for number in range(len(scratches))]
            for place, listed, memory in zip(self._places[1:], self._lists, scratches, strict=True):
                place[:PLACE_WORDS] = address(listed.values), len(calls), address(memory), 0
            self._words, self._kernel = post.leader(library, self._places), library.functions["lead"]
        else:
            self._words = library.walk([(name, words, 0, rows) for name, words, rows in calls])
            self._kernel = library.functions["walk"]
        self._arguments = address(self._words.values), 0, len(calls), address(scratches[0])

    def run(self) -> None:
        """Goes through the calls. Two threads must not do so at once, nor for two teams of one post."""
        self._kernel(*self._arguments)

    def _shared(self, calls: Sequence[tuple[str, Words, int]], thread: int, threads: int) -> Words:
        """The list of a thread, whose calls take shares of the given ones."""
        kernel, mine = self._library.kernels["share"], self._places[1 + thread, PLACE_WORDS - 1 : PLACE_WORDS]
        shares = []
        for (name, words, rows), state in zip(calls, self._states, strict=True):
            share = kernel.words(
                state=state, round=mine, function=self._library.address(name), inner=address(words.values), rows=rows,
                grain=self._grain(name, words, rows, threads), thread=thread, threads=threads, give_way=_address("sched_yield"),
            )  # fmt: skip
            shares.append(("share", Words(share.values, (*share.kept, words.values, *words.kept)), 0, 0))
        return self._library.walk(shares)

    def _grain(self, name: str, words: Words, rows: int, threads: int) -> int:
        """Rows that are taken together: whole tiles where the kernel has them. With each take of panels all pixels are made ready again:
        hence fewer takes, in parts of the same size."""
        fields = self._library.kernels[name].fields
        told = {field: int(words.values[fields.index(field)]) for field in ("tile_rows", "panels") if field in fields}
        if told.get("panels"):
            share = -(-rows // threads)
            return next(grain for grain in range(max(1, share // TAKES), 0, -1) if share % grain == 0)
        tile = max(1, told.get("tile_rows", 1))
        return tile * max(1, -(-rows // tile) // (FINEST * threads))


def _lines(count: int) -> np.ndarray:
    """int64 [count, LINE / 8], each line in a cache line of its own."""
    return scratch(count * LINE).view(np.int64).reshape(count, LINE // 8)


def _address(function: str) -> int:
    """Where a function of the C library lies."""
    return ctypes.cast(getattr(ctypes.CDLL(None), function), ctypes.c_void_p).value or 0
