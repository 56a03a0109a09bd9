"""Pictures that a live source shows again and again: each is written once to where consumers read it, and frames only name it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from devices.spec import ImageSpec
from flow.plan.value import Stream
from flow.pool import SlotRef
from flow.worker.source import Memory, NoMemory, Shot, copy
from ops.value import Image

if TYPE_CHECKING:
    from flow.sources.stream import Captured


class KeptPictures:
    """Holds the slot of every picture that was shown, so that nobody writes to it. `memory` is as for a source."""

    def __init__(self, stream: Stream, memory: Callable[[ImageSpec], Memory | None]) -> None:
        self._count, self._spec, self._memory = stream.kept, stream.spec, memory
        self._images: dict[int, Image] = {}

    def has(self, captured: Captured) -> bool:
        """Whether the frame shows such a picture, for which the plan has a slot; any thread may ask."""
        return 0 <= captured.kept < self._count and captured.spec == self._spec

    def shot(self, captured: Captured) -> Shot | None:
        """The frame with its picture, whose slot is held for it once more; None when there is no memory for the picture."""
        image = self._images.get(captured.kept)
        if image is None:
            try:
                memory = self._memory(captured.spec)
            except NoMemory:
                return None
            if memory is None:
                return None
            image = self._images[captured.kept] = copy(captured, memory).image
            for plane in image.planes:
                plane.flags.writeable = False
        if isinstance(image.slot, SlotRef):
            image.slot.pool.hold(image.slot)
        return Shot(captured.seq, captured.pts_ns, captured.time_ns, captured.mono_ns, image)

    def let_go(self, which: Callable[[SlotRef], bool] = lambda ref: True) -> None:
        """Holds these slots no more; a picture that is shown again is written anew."""
        for number, image in list(self._images.items()):
            ref = image.slot
            if isinstance(ref, SlotRef) and which(ref):
                del self._images[number]
                ref.pool.release(ref)
