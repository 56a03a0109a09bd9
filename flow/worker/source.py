"""The first stage of a source chain: frames from the reader into slots. Here what all share, and sources that wait until they are asked."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
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
Tell = Callable[..., None]
MANY = 1 << 60
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


def copy(captured: Captured, memory: Memory) -> Shot:
    """The frame in our memory."""
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
        self.rang = False
        """Whether `waitable` was heard since the last `take`."""
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
        """An eventfd that is rung when `take` may give something."""
        return None

    def hear(self) -> None:
        """`waitable` was found readable, and is no more: a frame that there is no room for would keep its worker awake."""
        self.rang = True
        self._empty_bell()

    def _empty_bell(self) -> None:
        try:  # noqa: SIM105 - asked for every frame, where a context manager costs more than the question
            os.eventfd_read(self.waitable)  # type: ignore[arg-type]
        except BlockingIOError:
            pass

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

    def came(self) -> None:
        """A frame has been read."""
        words = self.block.words
        words[self._in] += 1
        words[self._in_flight] += 1

    def gone(self) -> None:
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
        self.spec = stream.spec

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
            if not self._come():
                return None
            if self._fills():
                return self._shot_filled()
            captured = self._read()
            if captured is None or (self.frames is not None and captured.seq >= self.frames):
                self._note()
                self.ended = True
                break
            self.next_seq = captured.seq + 1
            with self.block.change():
                words[self._in] += 1
                if self._thins and not self._wanted(captured):
                    self.block.add(f"{self.key}.dropped:every")
                    continue
                words[self._in_flight] += 1
            try:
                memory = self.memory(captured.spec)
            except NoMemory:
                with self.block.change():
                    self.block.add(f"{self.key}.dropped:memory")
                    words[self._in_flight] -= 1
                continue
            if memory is None:
                raise AssertionError("a frame was asked for while no slot was free")
            return copy(captured, memory)
        return None

    def _come(self) -> bool:
        """Whether the next frame may be read now."""
        return True

    def _read(self) -> Captured | None:
        return self.reader.read()

    def _fills(self) -> bool:
        return self.reader.fills and not self._thins

    def fillable(self) -> int:
        """How many frames `next` may be asked for now: of a source that writes its pictures where consumers read them.

        Raises SourceError.
        """
        if self._thins or self.draining or self.ended or self._returned is not None or not self.reader.fills:
            return 0
        return MANY if self.frames is None else self.frames - self.next_seq

    def next(self, image: Image) -> tuple[int, int, int, int] | None:
        """Fills the next frame into `image`: seq, pts_ns, monotonic ns and UTC ns (or -1) of its capture. None at the end.

        Raises SourceError.
        """
        found = self.reader.next(image.planes)
        if found is None:
            self._note()
            self.ended = True
            return None
        seq, pts_ns, mono_ns, picture = found
        self.next_seq = seq + 1
        if seq % NOTED_EVERY == 0:
            self._note()
        time_ns = picture.time_ns
        return seq, pts_ns, mono_ns, -1 if time_ns is None else time_ns

    def picture(self, memory: np.ndarray, ref: SlotRef | None = None) -> Image:
        """A picture of the source over this memory."""
        return Image(self.spec, self.spec.split(memory), rotation_transform(self.spec), ref)

    def _shot_filled(self) -> Shot | None:
        image = self.room()
        found = self.next(image)
        if found is None:
            return None
        with self.block.change():
            self.came()
        seq, pts_ns, mono_ns, time_ns = found
        return Shot(seq, pts_ns, None if time_ns < 0 else time_ns, mono_ns, image)

    def renewed(self, shot: Shot) -> Shot | None:
        self._images.clear()
        return super().renewed(shot)

    def room(self) -> Image:
        """Where a source that fills its pictures in writes the next one."""
        memory = self.memory(self.spec)
        if memory is None:
            raise AssertionError("a frame was asked for while no slot was free")
        buffer, ref = memory
        key = -1 if ref is None else ref.pool.number_word | ref.slot
        image = self._images.get(key)
        if image is None:
            image = self._images[key] = self.picture(buffer, ref)
        image.slot = ref
        return image
