"""A source that does not wait: a thread of its own reads it all the time, and the chain takes what is newest.

The newest frame replaces the one that waits (`latest`), or the oldest of several gives way (`drop_oldest`), and every one that went is
counted.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from devices.spec import ImageSpec
from flow.ledger import Block
from flow.plan.value import Stream
from flow.pool import SlotRef
from flow.worker.kept import KeptPictures
from flow.worker.source import Memory, NoMemory, Shot, SourceStage, Tell, copy

if TYPE_CHECKING:
    from flow.sources.stream import Captured, StreamReader

LOSSES_TOLD = 5
"""So often it is said that a camera was lost; after that it is only counted."""


class LiveSource(SourceStage):
    """A thread reads all the time; the chain takes what is newest. Slots go to the thread through `_room` and come back in shots."""

    def __init__(
        self, stream: Stream, chain: int, reader: StreamReader, block: Block,
        memory: Callable[[ImageSpec], Memory | None], frames: int | None, tell: Tell = lambda event, **fields: None,
    ) -> None:  # fmt: skip
        super().__init__(stream, chain, reader, block, memory, frames)
        self._tell, self._told = tell, 0
        self._lost: deque[str] = deque()
        reader.lost = self._hear
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._room: deque[Memory] = deque()
        self._kept = KeptPictures(stream, memory)
        self._waiting: deque[Shot | Captured] = deque()
        """A frame whose picture is kept needs no room, and gets its memory when it is taken."""
        self._captured = self._dropped_policy = self._dropped_every = self._dropped_memory = 0
        self._finished = False
        self._needed: ImageSpec = stream.spec
        self._error: BaseException | None = None
        self._keep = stream.queue if stream.policy == "drop_oldest" else 1
        policy = "drop_oldest" if stream.policy == "drop_oldest" else "latest"
        self._let_go, self._switched, *self._refused = (
            block.index(f"{self.key}.dropped:{cause}") for cause in (policy, "switch", "every", "memory")
        )
        self._thread = threading.Thread(target=self._capture, name=f"capture-{stream.name}", daemon=True)
        self._started = False
        self.takes: Callable[[], bool] = lambda: True
        """Whether anybody could take a frame now. If not, it is dropped before it is written anywhere: the next one will be newer."""

    @property
    def waitable(self) -> int:
        return self._bell

    def due(self) -> bool:
        return self.rang or self._finished or bool(self._waiting) or not self._started or self.draining or self._returned is not None

    def _capture(self) -> None:
        try:
            while not self.draining:
                captured = self.reader.read()
                if self._over(captured):
                    break
                assert captured is not None
                self._put(captured)
        except BaseException as error:  # handed to the chain, which reports it
            self._error = error
        finally:
            with self._lock:
                self._finished = True
            os.eventfd_write(self._bell, 1)

    def _hear(self, error: str) -> None:
        """The camera is away; the thread goes on trying."""
        self._lost.append(error)
        os.eventfd_write(self._bell, 1)

    def _tell_losses(self) -> None:
        while self._lost:
            error, self._told = self._lost.popleft(), self._told + 1
            more = " (more of these are counted, not shown)" if self._told == LOSSES_TOLD else ""
            if self._told <= LOSSES_TOLD:
                self._tell("stream_lost", stream=self.stream.name, message=f"{error}; trying again{more}")

    def _put(self, captured: Captured) -> None:
        takes = self.takes()
        with self._lock:
            if not takes:
                self._captured += 1
                self._dropped_policy += 1
                return
            if not self._wanted(captured):
                self._captured += 1
                self._dropped_every += 1
                return
            if self._kept.has(captured):
                self._wait(captured)
                memory = None
            elif (memory := self._find_room(captured.spec)) is None:
                self._captured += 1
                if captured.spec.nbytes > self._needed.nbytes:
                    self._needed = captured.spec
                    self._dropped_memory += 1
                else:
                    self._dropped_policy += 1
        if memory is not None:
            shot = copy(captured, memory)
            with self._lock:
                self._wait(shot)
        os.eventfd_write(self._bell, 1)

    def _wait(self, frame: Shot | Captured) -> None:
        self._captured += 1
        self._waiting.append(frame)
        while len(self._waiting) > self._keep:
            if isinstance(gone := self._waiting.popleft(), Shot):
                self._room.append(self._memory_of(gone))
            self._dropped_policy += 1

    def _find_room(self, spec: ImageSpec) -> Memory | None:
        for _ in range(len(self._room)):
            memory = self._room.popleft()
            if len(memory[0]) >= spec.nbytes:
                return memory
            self._room.append(memory)
        if len(self._waiting) >= self._keep:
            gone = self._waiting.popleft()
            self._dropped_policy += 1
            if not isinstance(gone, Shot):
                return None
            memory = self._memory_of(gone)
            if len(memory[0]) >= spec.nbytes:
                return memory
            self._room.append(memory)
        return None

    @staticmethod
    def _memory_of(shot: Shot) -> Memory:
        ref = shot.image.slot
        if isinstance(ref, SlotRef):
            return ref.pool.view(ref.slot), ref
        plane = shot.image.planes[0]
        base = plane.base if plane.base is not None else plane
        assert isinstance(base, np.ndarray)
        return base.reshape(-1), None

    def take(self) -> Shot | None:
        if not self._started:
            self._started = True
            self._thread.start()
        if self._returned is not None:
            return self._again()
        if not self.rang:
            self._empty_bell()
        self.rang = False
        if self._lost:
            self._tell_losses()
        self._refill()
        with self._lock:
            shot = self._next() if self._waiting else None
            self._write_ledger(1 if shot is not None else 0, self._let_go)
            finished = self._finished and not self._waiting
        if shot is not None and self.stale is not None:
            kept = self.renewed(shot)
            if kept is None and isinstance(shot.image.slot, SlotRef):
                self.let_go(shot.image.slot)
                self._dropped_policy += 1
            shot = kept
        self._refill()
        if shot is None and finished:
            if self._error is not None:
                raise self._error
            self.ended = True
        return shot

    def _next(self) -> Shot | None:
        """The frame that has waited longest, in memory."""
        frame = self._waiting.popleft()
        if isinstance(frame, Shot):
            return frame
        if self.stale is not None:
            self._kept.let_go(self.stale)
        shot = self._kept.shot(frame)
        self._dropped_memory += shot is None
        return shot

    def let_go_for_switch(self, held: int) -> None:
        """What was let go since a frame was last taken is lost to a switch of plans; `held` frames were taken and have not gone out."""
        with self._lock:
            self._write_ledger(held, self._switched)

    def _write_ledger(self, taken: int, let_go: int) -> None:
        words, (every, memory) = self.block.words, self._refused
        with self.block.change():
            words[self._in] += self._captured
            words[let_go] += self._dropped_policy
            words[every] += self._dropped_every
            words[memory] += self._dropped_memory
            words[self._in_flight] = len(self._waiting) + taken
        self._captured = self._dropped_policy = self._dropped_every = self._dropped_memory = 0
        self._note()

    def let_go(self, ref: SlotRef) -> None:
        ref.pool.release(ref)

    def renewed(self, shot: Shot) -> Shot | None:
        self._let_go_of_stale_room()
        return super().renewed(shot)

    def _let_go_of_stale_room(self) -> None:
        stale = self.stale
        assert stale is not None
        with self._lock:
            room, self._room = self._room, deque()
            for memory in room:
                if memory[1] is not None and stale(memory[1]):
                    self.let_go(memory[1])
                else:
                    self._room.append(memory)

    def _refill(self) -> None:
        """Two free buffers for the thread: one being written, one to go on with."""
        while len(self._room) + len(self._waiting) < self._keep + 1:
            try:
                memory = self.memory(self._needed)
            except NoMemory:
                return
            if memory is None:
                return
            with self._lock:
                self._room.append(memory)

    def release_room(self) -> None:
        """Gives unused slots back at the end."""
        self._kept.let_go()
        while self._room:
            _, ref = self._room.popleft()
            if ref is not None:
                ref.pool.release(ref)

    def close(self) -> None:
        super().close()
        if self._started:
            self._thread.join(timeout=2.0)
        self.release_room()
        os.close(self._bell)
