import threading
from itertools import pairwise

import numpy as np
import pytest

from devices.native.isa import runnable
from devices.native.kernels import address, ensure, library, sites
from devices.native.kernels.team import Team


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


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_together_give_what_one_gives(kernels, picture, threads):
    wanted, x = answer(kernels, picture), picture.copy()
    calls, result = chain(kernels, x)
    team, scratch = Team(kernels, calls, threads), np.zeros(64, np.uint8)
    for turn in range(30):
        x[:] = picture if turn % 2 else 255 - picture
        team.open()
        workers = [threading.Thread(target=team.work, args=(number, address(scratch))) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if turn % 2:
            np.testing.assert_array_equal(result, wanted)


def test_nobody_waits_for_a_thread_that_does_not_come(kernels, picture):
    calls, result = chain(kernels, picture)
    team = Team(kernels, calls, 3)
    scratch = np.zeros(64, np.uint8)
    team.open()
    team.work(1, address(scratch))
    np.testing.assert_array_equal(result, answer(kernels, picture))


def test_a_thread_of_an_earlier_round_touches_nothing(kernels, picture):
    calls, result = chain(kernels, picture)
    team, scratch = Team(kernels, calls, 2), np.zeros(64, np.uint8)
    team.open()
    team.work(0, address(scratch))
    result[:] = 0
    team._states[:, [0, 8]] = 2 << 32  # the next round is open, and this thread does not know of it
    team.work(1, address(scratch))
    assert not result.any()
