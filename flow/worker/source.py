"""The first stage of a source chain: frames from the reader into slots, at the source's pace or at ours.

A file is read when the chain asks for a frame. A live source is read by a thread of its own that never waits for the chain: the newest
frame replaces the one that waits (`latest`), or the oldest of several gives way (`drop_oldest`), and every one that went is counted.
"""

from __future__ import annotations

import contextlib
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from devices.spec import ImageSpec
from flow.ledger import Block
from flow.plan.value import Stream
from flow.pool import SlotRef
from ops.value import Image, rotation_transform

if TYPE_CHECKING:
    from flow.sources.stream import Captured, StreamReader

Memory = tuple[np.ndarray, SlotRef | None]
NOTED_EVERY = 16
"""After so many frames of a source that waits, what its reader has repaired is counted."""


@dataclass(slots=True)
class Shot:
    """One captured frame in our memory."""

    seq: int
    pts_ns: int
    time_ns: int | None
    mono_ns: int
    image: Image


class NoMemory(Exception):
    """A picture larger than the memory that the device has left for it."""


def _copy(captured: Captured, memory: Memory) -> Shot:
    buffer, ref = memory
    spec = captured.spec
    planes = spec.split(buffer)
    for target, source in zip(planes, captured.planes, strict=True):
        np.copyto(target, source)
    image = Image(spec, planes, rotation_transform(spec), ref)
    return Shot(captured.seq, captured.pts_ns, captured.time_ns, captured.mono_ns, image)


class SourceStage(ABC):
    """Base of both. `memory(spec)` gives room for a picture, or None when all slots are held; raises NoMemory."""

    def __init__(
        self, stream: Stream, chain: int, reader: StreamReader, block: Block,
        memory: Callable[[ImageSpec], Memory | None], frames: int | None,
    ) -> None:  # fmt: skip
        self.stream, self.reader, self.block, self.memory, self.frames = stream, reader, block, memory, frames
        self.key = f"stream:{stream.name}"
        index = block.index
        self._in, self._out, self._in_flight = (index(f"{self.key}.{name}") for name in ("in", "out", "in_flight"))
        self._noted = (0, 0, 0)
        self._thins = stream.policy == "every"
        self.next_seq = block.get(f"chain:{chain}.next_seq")
        self.draining = False
        self.ended = False
        self.stale: Callable[[SlotRef], bool] | None = None
        """Says of a slot whether it lies in memory that readers no longer know."""
        self._returned: Shot | None = None
        self._held: SlotRef | None = None

    @abstractmethod
    def take(self) -> Shot | None:
        """The next frame, or None: none yet, or `ended`. Raises SourceError."""
        ...

    @property
    def waitable(self) -> int | None:
        return None

    def due(self) -> bool:
        """Whether `take` may give something."""
        return True

    def drain(self) -> None:
        """No frame after those already captured."""
        self.draining = True
        self.reader.stop()

    def put_back(self, shot: Shot, held: SlotRef | None) -> None:
        """A frame that was taken and has not gone out: it is the next one. `held`: its slot, to be released once it has gone."""
        self._returned, self._held = shot, held

    def _again(self) -> Shot | None:
        """The frame that was put back, in memory that readers know."""
        assert self._returned is not None
        shot = self._returned if self.stale is None else self.renewed(self._returned)
        if shot is not None:
            self._returned = None
        return shot

    def renewed(self, shot: Shot) -> Shot | None:
        """The frame in memory that readers know; None when none is free."""
        image, ref = shot.image, shot.image.slot
        if not isinstance(ref, SlotRef) or self.stale is None or not self.stale(ref):
            return shot
        memory = self.memory(image.spec)
        if memory is None:
            return None
        planes = image.spec.split(memory[0])
        for target, source in zip(planes, image.planes, strict=True):
            np.copyto(target, source)
        self.let_go(ref)
        return Shot(shot.seq, shot.pts_ns, shot.time_ns, shot.mono_ns, Image(image.spec, planes, image.transform, memory[1]))

    def let_go(self, ref: SlotRef) -> None:
        """A frame has moved out of this slot."""
        return

    def published(self, shot: Shot) -> None:
        """The frame has gone through the chain."""
        words = self.block.words
        words[self._out] += 1
        words[self._in_flight] -= 1
        if self._held is not None and self._returned is None:
            self._held.pool.release(self._held)
            self._held = None

    def close(self) -> None:
        self.reader.stop()
        self.reader.close()

    def _wanted(self, captured: Captured) -> bool:
        return self.stream.policy != "every" or captured.seq % self.stream.every == 0

    def _over(self, captured: Captured | None) -> bool:
        return captured is None or (self.frames is not None and captured.seq >= self.frames)

    def _note(self) -> None:
        reader = self.reader
        found = reader.repaired, reader.reconnects, reader.corrupt
        if found != self._noted:
            self._noted = found
            for name, count in zip(("repaired", "reconnects", "corrupt"), found, strict=True):
                self.block.set(f"{self.key}.{name}", count)


class WaitingSource(SourceStage):
    """Reads a frame when one is asked for: nothing is lost. `promised`: frames an earlier life read, so consumers may have them."""

    promised = 0

    def __init__(
        self, stream: Stream, chain: int, reader: StreamReader, block: Block,
        memory: Callable[[ImageSpec], Memory | None], frames: int | None,
    ) -> None:  # fmt: skip
        super().__init__(stream, chain, reader, block, memory, frames)
        self._images: dict[int, Image] = {}
        """Pictures over memory that was filled before."""
        self.at_once: Callable[[Image, int, int, int | None, int], None] | None = None
        """Who sends a picture (with seq, pts_ns, time_ns, mono_ns) that was filled in, before anything else is done with it."""

    def drain(self) -> None:
        self.draining = True

    def take(self) -> Shot | None:
        if self._returned is not None:
            return self._again()
        words = self.block.words
        while not self.ended:
            if (self.draining and self.next_seq >= self.promised) or (self.frames is not None and self.next_seq >= self.frames):
                self.ended = True
                break
            if self.next_seq % NOTED_EVERY == 0:
                self._note()
            reader = self.reader
            room = self._room() if reader.fills else None
            if room is None:
                captured = reader.read()
            else:
                captured = reader.read(room.planes, None if self.at_once is None else partial(self.at_once, room))
            if captured is None or (self.frames is not None and captured.seq >= self.frames):
                self._note()
                self.ended = True
                break
            self.next_seq = captured.seq + 1
            words[self._in] += 1
            if self._thins and not self._wanted(captured):
                self.block.add(f"{self.key}.dropped:every")
                continue
            words[self._in_flight] += 1
            if room is not None:
                return Shot(captured.seq, captured.pts_ns, captured.time_ns, captured.mono_ns, room)
            try:
                memory = self.memory(captured.spec)
            except NoMemory:
                self.block.add(f"{self.key}.dropped:memory")
                words[self._in_flight] -= 1
                continue
            if memory is None:
                raise AssertionError("a frame was asked for while no slot was free")
            return _copy(captured, memory)
        return None

    def renewed(self, shot: Shot) -> Shot | None:
        self._images.clear()
        return super().renewed(shot)

    def _room(self) -> Image:
        """Where a source that fills its pictures in writes the next one."""
        memory = self.memory(self.stream.spec)
        if memory is None:
            raise AssertionError("a frame was asked for while no slot was free")
        buffer, ref = memory
        key = -1 if ref is None else ref.pool.number_word | ref.slot
        image = self._images.get(key)
        if image is None:
            spec = self.stream.spec
            image = self._images[key] = Image(spec, spec.split(buffer), rotation_transform(spec), ref)
        image.slot = ref
        return image


class LiveSource(SourceStage):
    """A thread reads all the time; the chain takes what is newest. Slots go to the thread through `_room` and come back in shots."""

    def __init__(
        self, stream: Stream, chain: int, reader: StreamReader, block: Block,
        memory: Callable[[ImageSpec], Memory | None], frames: int | None,
    ) -> None:  # fmt: skip
        super().__init__(stream, chain, reader, block, memory, frames)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._room: deque[Memory] = deque()
        self._waiting: deque[Shot] = deque()
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
        self.rang = False
        """Whether `waitable` was found readable since the last `take`: told by who waits for it."""
        self.takes: Callable[[], bool] = lambda: True
        """Whether anybody could take a frame now. If not, it is dropped before it is written anywhere: the next one will be newer."""

    @property
    def waitable(self) -> int:
        return self._bell

    def due(self) -> bool:
        return self.rang or bool(self._waiting) or not self._started or self.draining or self._returned is not None

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
            memory = self._find_room(captured.spec)
            if memory is None:
                self._captured += 1
                if captured.spec.nbytes > self._needed.nbytes:
                    self._needed = captured.spec
                    self._dropped_memory += 1
                else:
                    self._dropped_policy += 1
        if memory is not None:
            shot = _copy(captured, memory)
            with self._lock:
                self._captured += 1
                self._waiting.append(shot)
                while len(self._waiting) > self._keep:
                    self._give_room(self._waiting.popleft())
                    self._dropped_policy += 1
        os.eventfd_write(self._bell, 1)

    def _find_room(self, spec: ImageSpec) -> Memory | None:
        for _ in range(len(self._room)):
            memory = self._room.popleft()
            if len(memory[0]) >= spec.nbytes:
                return memory
            self._room.append(memory)
        if len(self._waiting) >= self._keep:
            memory = self._memory_of(self._waiting.popleft())
            self._dropped_policy += 1
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

    def _give_room(self, shot: Shot) -> None:
        self._room.append(self._memory_of(shot))

    def take(self) -> Shot | None:
        if not self._started:
            self._started = True
            self._thread.start()
        if self._returned is not None:
            return self._again()
        self.rang = False
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        self._refill()
        with self._lock:
            shot = self._waiting.popleft() if self._waiting else None
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

    def let_go_for_switch(self, held: int) -> None:
        """What was let go since a frame was last taken is lost to a switch of plans; `held` frames were taken and have not gone out."""
        with self._lock:
            self._write_ledger(held, self._switched)

    def _write_ledger(self, taken: int, let_go: int) -> None:
        words = self.block.words
        counts = self._captured, self._dropped_policy, self._dropped_every, self._dropped_memory
        for index, count in zip((self._in, let_go, *self._refused), counts, strict=True):
            words[index] += count
        self._captured = self._dropped_policy = self._dropped_every = self._dropped_memory = 0
        words[self._in_flight] = len(self._waiting) + taken
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
