"""A live source whose camera is faster than its consumers."""

from __future__ import annotations

import queue
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from devices.spec import ImageSpec
from flow.ledger import Block, Layout, conserved, make_block
from flow.plan.value import Stream
from flow.pool import Pool, PoolShape, allocate
from flow.sources.stream import Captured
from flow.wiring import STREAM_CAUSES
from flow.worker.kept import KeptPictures
from flow.worker.live import LiveSource
from flow.worker.source import Memory

SPEC = ImageSpec(8, 4, "gray8")


@dataclass
class Camera:
    """Shows a frame when it is told to; None ends it."""

    frames: queue.SimpleQueue[int | None] = field(default_factory=queue.SimpleQueue)
    shown: int = 0
    kept: int = 0
    reconnects = repaired = corrupt = 0
    lost: Callable[[str], None] = lambda error: None

    def read(self) -> Captured | None:
        seq = self.frames.get()
        self.shown += 1
        if seq is None:
            return None
        picture = seq % self.kept if self.kept else seq
        return Captured(seq, seq, None, seq, SPEC, SPEC.split(np.full(SPEC.nbytes, picture, np.uint8)), picture if self.kept else -1)

    def stop(self) -> None:
        self.frames.put(None)

    def close(self) -> None:
        pass


@dataclass
class Bench:
    camera: Camera
    source: LiveSource
    block: Block

    def show(self, seq: int) -> None:
        """The camera shows a frame, and the source has done with it what it does."""
        self.camera.frames.put(seq)
        while not self.camera.frames.empty() or self.count() <= seq:
            time.sleep(0.001)

    def count(self) -> int:
        return self.block.get("stream:s.in") + self.source._captured

    def check(self, **expected: int) -> None:
        self.source.take()
        counters = self.block.snapshot()
        assert conserved(counters, "stream:s")
        assert {key: counters[f"stream:s.{key}"] for key in expected} == expected


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(kept: int = 0, memory: Any = lambda spec: (np.zeros(spec.nbytes, np.uint8), None), **options: Any) -> Bench:
        names = ("in", "out", "in_flight", "repaired", "reconnects", "corrupt", *(f"dropped:{cause}" for cause in STREAM_CAUSES))
        layout = Layout([*(f"stream:s.{name}" for name in names), "chain:0.next_seq"])
        block = Block(make_block(layout, "test"), layout)
        stream = Stream("s", "s", "test:", SPEC, 25.0, live=True, policy="latest", kept=kept)
        camera = Camera(kept=kept)
        source = LiveSource(stream, 0, camera, block, memory, None, **options)  # type: ignore[arg-type]
        made.append(Bench(camera, source, block))
        return made[-1]

    yield make
    for one in made:
        one.source.close()


def test_a_frame_that_nobody_can_take_is_dropped_before_it_is_written(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    copy = LiveSource._put.__globals__["copy"]

    def noted(captured: Captured, memory: Any) -> Any:
        written.append(captured.seq)
        return copy(captured, memory)

    monkeypatch.setattr("flow.worker.live.copy", noted)
    one = bench()
    one.source.takes = lambda: False
    assert one.source.take() is None
    for seq in range(3):
        one.show(seq)
    assert written == []
    one.source.takes = lambda: True
    one.show(3)
    shot = one.source.take()
    assert shot is not None
    assert (shot.seq, int(shot.image.planes[0][0, 0])) == (3, 3)
    assert written == [3]
    one.source.gone()
    one.check(**{"in": 4, "out": 1, "dropped:latest": 3, "in_flight": 0})


def test_it_is_due_when_there_is_something_to_take(bench: Callable[..., Bench]) -> None:
    one = bench()
    assert one.source.due(), "its camera is not being read yet"
    assert one.source.take() is None
    assert not one.source.due()
    one.show(0)
    assert one.source.due()
    shot = one.source.take()
    assert shot is not None
    one.source.gone()
    assert not one.source.due()
    one.source.hear()
    assert one.source.due(), "somebody rang"
    assert one.source.take() is None
    assert not one.source.due()
    one.source.drain()
    assert one.source.due()


def test_whoever_heard_of_a_frame_that_there_is_no_room_for_can_sleep(bench: Callable[..., Bench]) -> None:
    """It is taken when there is room; until then it rings nobody's bell any more."""
    one = bench()
    one.source.take()
    one.show(0)
    assert select.select([one.source.waitable], [], [], 10)[0]
    one.source.hear()
    assert not select.select([one.source.waitable], [], [], 0)[0]
    assert one.source.due()
    assert one.source.take() is not None


def test_a_newer_frame_takes_the_place_of_one_that_waits(bench: Callable[..., Bench]) -> None:
    one = bench()
    one.source.take()
    for seq in range(3):
        one.show(seq)
    shot = one.source.take()
    assert shot is not None
    assert shot.seq == 2
    one.source.gone()
    one.check(**{"in": 3, "out": 1, "dropped:latest": 2})


def slots(number: int, pools: list[Pool]) -> Callable[[ImageSpec], Memory | None]:
    """Memory in the newest of these pools, to which one of so many slots is added."""
    shape = PoolShape(len(pools), number, 64, 1)
    pools.append(Pool(shape, *allocate(shape), 0))

    def memory(spec: ImageSpec) -> Memory | None:
        ref = pools[-1].acquire()
        return None if ref is None else (ref.pool.view(ref.slot), ref)

    return memory


def test_a_picture_that_is_shown_again_is_written_once_and_nobody_else_gets_its_slot(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    copy = KeptPictures.shot.__globals__["copy"]

    def noted(captured: Captured, memory: Any) -> Any:
        written.append(captured.seq)
        return copy(captured, memory)

    monkeypatch.setattr("flow.worker.kept.copy", noted)
    pools: list[Pool] = []
    one = bench(kept=2, memory=slots(2 + 2, pools))
    one.source.take()
    seen = []
    for seq in range(6):
        one.show(seq)
        if seq == 4:  # a plan that comes next brings memory of its own
            slots(2 + 2, pools)
            one.source.stale = lambda ref: ref.pool is not pools[-1]
        shot = one.source.take()
        assert shot is not None
        ref = shot.image.slot
        assert (shot.seq, int(shot.image.planes[0][0, 0]), ref.pool) == (seq, seq % 2, pools[-1])
        assert not shot.image.planes[0].flags.writeable
        seen.append((ref.pool, ref.slot))
        ref.pool.release(ref)
        one.source.gone()
    assert written == [0, 1, 4, 5]
    assert (seen[0], seen[1]) == (seen[2], seen[3])
    assert len({seen[0], seen[1]}) == 2
    assert pools[0].held() == 0, "nobody reads it any more"
    one.check(**{"in": 6, "out": 6, "dropped:latest": 0})
    one.source.release_room()
    assert pools[1].held() == 0


def test_losses_are_told_but_not_for_ever(bench: Callable[..., Bench]) -> None:
    """A camera with a loose plug must not fill memory with messages."""
    told: list[str] = []
    one = bench(tell=lambda event, **fields: told.append(fields["message"]))
    for number in range(8):
        one.camera.lost(f"gone {number}")
        one.source.take()
    assert told[0] == "gone 0; trying again"
    assert told[4] == "gone 4; trying again (more of these are counted, not shown)"
    assert len(told) == 5


def test_an_end_that_comes_with_the_last_frame_is_heard(bench: Callable[..., Bench]) -> None:
    """The camera's thread rings for the last frame and for the end; whoever takes the frame has heard both."""
    one = bench()
    one.source.take()
    one.show(0)
    one.camera.frames.put(None)
    one.source._thread.join(10)
    assert one.source.take() is not None
    assert one.source.due(), "nobody rings any more"
    assert one.source.take() is None
    assert one.source.ended
