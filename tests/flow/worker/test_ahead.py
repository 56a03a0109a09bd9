"""A source that is read by a thread of its own, with a reader that blocks as long as the test likes."""

from __future__ import annotations

import queue
import select
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from devices.spec import ImageSpec
from flow.ledger import Block, Layout, conserved, make_block
from flow.plan.value import Stream
from flow.sources.contract import Picture, SourceError
from flow.sources.stream import Captured
from flow.wiring import STREAM_CAUSES
from flow.worker.ahead import AheadSource

SPEC = ImageSpec(8, 4, "gray8")


class Share:
    """Frames come when the test says so: a number, an error, or None for the end."""

    def __init__(self, *, fills: bool) -> None:
        self.answers: queue.SimpleQueue[int | Exception | None] = queue.SimpleQueue()
        self.fills = fills
        self.repaired = self.reconnects = self.corrupt = 0
        self.stopped = self.closed = False

    def read(self) -> Captured | None:
        answer = self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else Captured(answer, answer, None, 0, SPEC, SPEC.split(np.full(SPEC.nbytes, answer, np.uint8)))

    def next(self, planes: Any) -> tuple[int, int, int, Picture] | None:
        answer = self.answers.get()
        assert isinstance(answer, int)
        planes[0].fill(answer)
        return answer, answer, 0, Picture(SPEC, planes, answer)

    def stop(self) -> None:
        self.stopped = True
        self.answers.put(None)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened() -> Iterator[Callable[..., tuple[Share, AheadSource, Block]]]:
    made: list[AheadSource] = []

    def make(*, fills: bool = False) -> tuple[Share, AheadSource, Block]:
        names = ("in", "out", "in_flight", "repaired", "reconnects", "corrupt", *(f"dropped:{cause}" for cause in STREAM_CAUSES))
        layout = Layout([*(f"stream:s.{name}" for name in names), "chain:0.next_seq"])
        share, block = Share(fills=fills), Block(make_block(layout, "test"), layout)
        stream = Stream("s", "s", "test:", SPEC, 25.0, live=False)
        made.append(AheadSource(stream, 0, share, block, lambda spec: (np.zeros(spec.nbytes, np.uint8), None), None))
        return share, made[-1], block

    yield make
    for source in made:
        if not source._closing:
            source.close()


def heard(source: AheadSource) -> None:
    assert select.select([source.waitable], [], [], 30)[0]
    source.hear()


def test_a_read_that_blocks_keeps_nobody(opened: Callable[..., tuple[Share, AheadSource, Block]]) -> None:
    share, source, block = opened()
    assert source.take() is None
    assert not source.due()
    for seq in range(3):
        share.answers.put(seq)
        heard(source)
        shot = source.take()
        assert shot is not None
        assert (shot.seq, int(shot.image.planes[0][0, 0])) == (seq, seq)
        source.gone()
    assert conserved(block.snapshot(), "stream:s")
    source.drain()
    assert source.due()
    assert source.take() is None
    assert source.ended, "though it is being read"
    source.close()
    assert share.stopped
    assert share.closed


def test_what_breaks_the_read_is_raised_where_the_frame_is_taken(opened: Callable[..., tuple[Share, AheadSource, Block]]) -> None:
    share, source, _ = opened()
    assert source.take() is None
    share.answers.put(SourceError("the share is gone"))
    heard(source)
    with pytest.raises(SourceError, match="the share is gone"):
        source.take()


def test_a_source_that_makes_its_pictures_itself_is_asked_directly(opened: Callable[..., tuple[Share, AheadSource, Block]]) -> None:
    share, source, _ = opened(fills=True)
    assert (source.fillable(), source.take()) == (0, None)
    heard(source)
    assert source.fillable() > 0
    share.answers.put(7)
    shot = source.take()
    assert shot is not None
    assert (shot.seq, int(shot.image.planes[0][0, 0])) == (7, 7)
