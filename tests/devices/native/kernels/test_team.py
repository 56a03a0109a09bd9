import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.native.isa import runnable
from devices.native.kernels import address, ensure, library, scratch, sites
from devices.native.kernels.catalogue import PLACE_WORDS
from devices.native.kernels.team import Post, Team


@pytest.fixture(params=[isa.name for isa in runnable()])
def kernels(request):
    isa = next(isa for isa in runnable() if isa.name == request.param)
    ensure(isa)
    return library(isa)


def chain(kernels, x):
    """Calls of a table, a maximum over 3x3 of what the table gave, and so on, ten in all; and the last result."""
    pictures = [x, *(np.zeros_like(x) for _ in range(10))]
    height, width, channels = x.shape
    window = sites.windows((height, width), channels, (3, 3), pads=(1, 1, 1, 1))
    table, pad = np.arange(256, dtype=np.uint8)[::-1].copy(), np.zeros(width * channels, np.uint8)
    calls = []
    for number, (source, target) in enumerate(pairwise(pictures)):
        if number % 2:
            words = kernels.kernels["pool_max_u8"].words(
                x=source, out=target, pad=pad, channels=channels, stride_out=channels, **window.words()
            )
            calls.append(("pool_max_u8", words, height))
        else:
            words = kernels.kernels["table_u8"].words(x=source, out=target, table=table, channels=channels, stride_x=32, stride_out=32)
            calls.append(("table_u8", words, height * width))
    return calls, pictures[-1]


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (12, 9, 32), np.uint8)


def answer(kernels, x):
    calls, result = chain(kernels, x)
    walk = kernels.walk([(name, words, 0, rows) for name, words, rows in calls])
    kernels.run("walk", walk, 0, len(walk.values))
    assert result.any()
    return result


@contextmanager
def attended(kernels, post, helpers):
    """Threads that attend for some of the helpers; they have ended afterwards."""
    workers = [threading.Thread(target=post.attend, args=(kernels, number)) for number in helpers]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        post.over()
        for worker in workers:
            worker.join(20)
            assert not worker.is_alive()


def team(kernels, calls, threads):
    post = Post(threads - 1)
    return Team(kernels, calls, [scratch(64) for _ in range(threads)], post), post


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("awake", [False, True])
def test_threads_together_give_what_one_gives(kernels, picture, threads, awake):
    wanted, x = answer(kernels, picture), picture.copy()
    calls, result = chain(kernels, x)
    each, post = team(kernels, calls, threads)
    with attended(kernels, post, range(1, threads)):
        for turn in range(60):
            if awake:
                post.coming()
            x[:] = picture if turn % 2 else 255 - picture
            each.run()
            post.idle()
            if turn % 2:
                np.testing.assert_array_equal(result, wanted)
            elif turn % 10 == 0:
                time.sleep(0.002)  # helpers are parked again


def test_teams_take_turns(kernels, picture):
    """A helper that is still with one team when another one begins does no harm."""
    wanted = [answer(kernels, x) for x in (picture, 255 - picture)]
    post = Post(2)
    made = [chain(kernels, x.copy()) for x in (picture, 255 - picture)]
    teams = [Team(kernels, calls, [scratch(64) for _ in range(3)], post) for calls, _ in made]
    with attended(kernels, post, (1, 2)):
        for turn in range(100):
            number = turn * turn % 3 % 2
            made[number][1][:] = 0
            teams[number].run()
            np.testing.assert_array_equal(made[number][1], wanted[number])


def test_nobody_waits_for_a_thread_that_does_not_come(kernels, picture):
    calls, result = chain(kernels, picture)
    each, post = team(kernels, calls, 3)
    with attended(kernels, post, (2,)):
        each.run()
        np.testing.assert_array_equal(result, answer(kernels, picture))


def test_one_that_comes_when_all_is_done_touches_nothing(kernels, picture):
    calls, result = chain(kernels, picture)
    each, post = team(kernels, calls, 2)
    each.run()
    result[:] = 0
    with attended(kernels, post, (1,)):
        while each._places[2, PLACE_WORDS - 1] != 1:  # it has begun with the round
            time.sleep(0.001)
    assert not result.any()


def test_a_thread_of_an_earlier_round_touches_nothing(kernels, picture):
    calls, result = chain(kernels, picture)
    each, _ = team(kernels, calls, 2)
    each.run()
    each.run()
    result[:] = 0
    each._places[2, PLACE_WORDS - 1] = 1  # it does not know of the second one
    kernels.run("walk", each._lists[1], 0, len(calls), scratch(64))
    assert not result.any()


@given(rows=st.integers(0, 70), grain=st.integers(1, 9), threads=st.integers(1, 5), begun=st.integers(0, 4))
def test_every_row_is_done_once(rows, grain, threads, begun):
    """None left out, and as many taken as there are; parts are whole grains, and of nearly one size."""
    kernels = library()
    x, out, log = np.ones((71, 16), np.uint8), np.zeros((71, 16), np.uint8), np.zeros((1 + threads, 8), np.int64)
    words = kernels.kernels["copy"].words(x=x, out=out, bytes=1, stride_x=16, stride_out=16)
    mine = np.ones(1, np.int64)
    share = kernels.kernels["share"].words(
        state=log, round=mine, function=kernels.address("copy"), inner=address(words.values), rows=rows, grain=grain,
        thread=begun % threads, threads=threads,
    )  # fmt: skip
    kernels.run("share", share, 0, 0)
    assert out[:rows, 0].all()
    assert not out[rows:].any()
    parts = log[1:, 0]
    assert log[0, 0] == parts.sum() == rows
    assert all(part % grain == 0 for part in parts[:-1]) or rows < grain
    assert max(parts) - min(parts) <= 2 * grain
