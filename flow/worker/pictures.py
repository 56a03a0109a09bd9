"""The two ends of an edge that carries one picture a frame over one ring, as `Straight` uses them: each frame is one native step.

The head of a frame stands in words that both ends of a chain share, at an address they are given. They share the ring with the edge's
own ends, which do everything rare; `take_over` and `hand_back` say who counts.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from devices import kernels
from devices.kernels import links as at
from devices.spec import ImageSpec
from flow.entry import PICTURE, picture_bytes
from flow.link.ring import RingReceiver, RingSender
from flow.pool import Pool, SlotRef
from flow.worker.in_edge import InEdge
from flow.worker.out_edge import OutEdge
from ops.value import Affine, Image


def carries_pictures(edge: InEdge | OutEdge) -> bool:
    """Whether an edge carries one picture and nothing else."""
    ports = edge.codec.ports
    return len(ports) == 1 and not ports[0].many and isinstance(ports[0].item, ImageSpec)


class _Words:
    """Words that a native step works on, and what they point to."""

    def __init__(self, link: RingSender | RingReceiver, own: int, other: int) -> None:
        self._array = np.zeros(at.WORDS, np.int64)
        self.words: Any = self._array.data
        self.address: int = self._array.ctypes.data
        self.picture = np.zeros(at.PICTURE_BYTES, np.uint8)
        words = self.words
        words[at.BASE], words[at.PLACES], words[at.STRIDE] = link.base, link.shape.places, link.shape.stride
        words[at.OWN_WORD], words[at.OTHER_WORD], words[at.WATCHED] = own, other, link.other.word
        words[at.PICTURE], words[at.BELL] = self.picture.ctypes.data, link.other.fd


class PicturesOut:
    """Gives pictures that lie in slots."""

    def __init__(self, edge: OutEdge, sender: RingSender) -> None:
        self.edge, self.sender, self._head = edge, sender, 0
        functions = kernels.functions()
        self._give: Callable[..., int] = functions["ace_give"]
        self._reap = functions["ace_reap"]
        state = self._state = _Words(sender, sender.tail_word, sender.head_word)
        self.words = state.words
        self._holds = np.zeros(sender.shape.places, np.int64)
        self.words[at.HOLDS] = self._holds.ctypes.data
        self.words[at.CREDITS] = edge.credits
        self.address = state.address
        self._spec: ImageSpec | None = None
        self._transform: Affine | None = None
        self.words[at.COUNT], self.words[at.SEEN] = sender.tail, sender.head
        self.words[at.COUNTED] = sender.tail
        self._stirred = 0
        self.out_word = edge.block.index(f"{edge.key}.out")
        self.room: Callable[[], int] = partial(self._reap, self.address)
        """How many frames may be given now; lets go of what the consumer has finished with."""

    def begin(self, head: int, step: int) -> None:
        """From now on heads stand at `head`, and each turn here comes `step` after the last. What is under way stays so."""
        self._head, self.words[at.STEP] = head, step

    def take_over(self, turn: int) -> None:
        """From here on we count for the edge's own end. `turn`: of what goes to this link next."""
        words = self.words
        words[at.COUNT] = words[at.COUNTED] = self.sender.tail
        words[at.TURN] = turn

    def hand_back(self) -> None:
        """From here on the edge's own end counts."""
        self.sender.advance(self.words[at.COUNT], self.words[at.SEEN])

    def stirs(self) -> bool:
        """Whether the consumer has finished with something since last asked; it is let go of, and counted later."""
        self.room()
        before, self._stirred = self._stirred, self.words[at.DONE]
        return bool(self._stirred != before)

    def reap(self) -> bool:
        """Takes in what the consumer has finished with; whether anything."""
        self.room()
        words = self.words
        done = words[at.DONE] - words[at.OUT]
        if done:
            words[at.OUT] += done
            self.edge.block.words[self.out_word] += done
        return bool(done)

    def under_way(self) -> int:
        """Frames given that the consumer has not finished with."""
        words = self.words
        return int(words[at.GIVEN] - words[at.OUT])

    def let_go(self) -> int:
        """Nobody reads the edge any more: frames that were under way, which nobody holds now."""
        for place, hold in enumerate(self._holds.tolist()):
            if hold:
                ctypes.c_uint32.from_address(hold).value -= 1
                self._holds[place] = 0
        lost = self.under_way()
        words = self.words
        words[at.OUT] = words[at.DONE] = words[at.GIVEN]
        return lost

    def describe(self, image: Image) -> None:
        """What travels beside the slot of what is given next is that of this picture."""
        if image.spec is not self._spec or image.transform is not self._transform:
            self._spec, self._transform = image.spec, image.transform
            self._state.picture[:] = np.frombuffer(picture_bytes(image), np.uint8)

    def give(self, image: Image) -> int:
        """Publishes the frame whose head stands at `head`, with a picture that lies in a slot; above 0 if who was woken should go first."""
        self.describe(image)
        ref: SlotRef = image.slot
        pool, slot = ref.pool, ref.slot
        return self._give(self.address, self._head, pool.number_word | slot, pool.generations[slot], pool.hold_address + 4 * slot)

    def count(self) -> int:
        """How many frames were given, and finished with, since last asked: the first is returned, the second counted."""
        self.reap()
        words = self.words
        given: int = words[at.COUNT] - words[at.COUNTED]
        words[at.COUNTED] += given
        words[at.GIVEN] += given
        return given


class PicturesIn:
    """Takes pictures; they are not held: the producer holds them until we acknowledge the frame."""

    def __init__(self, edge: InEdge, receiver: RingReceiver, head: int) -> None:
        self.edge, self.receiver = edge, receiver
        state = self._state = _Words(receiver, receiver.head_word, receiver.tail_word)
        self.words = state.words
        self.words[at.STEP] = edge.replicas
        functions = kernels.functions()
        self._observe = functions["ace_observe"]
        self.address = state.address
        self.take_entry: Callable[[], int] = partial(functions["ace_take"], state.address, head)
        self._pools: list[Pool] = []
        self.images: dict[int, Image] = {}
        """Pictures by what `take_entry` says of their place. Their slots' generations are those of the last time."""
        self._table = np.zeros(0, np.int64)
        self.know(edge.pools)

    def know(self, pools: Any) -> None:
        """Pools that pictures may lie in."""
        if len(pools) == len(self._pools):
            return
        self._pools = list(pools.values())
        self.images.clear()
        rows = [(pool.shape.id, pool.generations_address, pool.shape.slots) for pool in self._pools]
        self._table = np.array(rows, np.int64).reshape(-1)
        self.words[at.POOLS], self.words[at.POOL_TABLE] = len(rows), self._table.ctypes.data

    def take_over(self) -> None:
        """From here on we count for the edge's own end."""
        self.know(self.edge.pools)
        self.words[at.BELL], self.words[at.WATCHED] = self.receiver.other.fd, self.receiver.other.word
        self.words[at.COUNT], self.words[at.SEEN] = self.receiver.taken, self.receiver.tail
        self.words[at.TURN], self.words[at.SETTLED] = self.edge.next_turn, self.edge.settled_turn
        self.words[at.COUNTED], self.words[at.FINISHED] = self.receiver.taken, self.receiver.head

    def stirs(self) -> bool:
        """Whether there are entries that were not taken."""
        moved: bool = self._observe(self.receiver.tail_word) != self.words[at.COUNT]
        return moved

    def hand_back(self) -> None:
        """From here on the edge's own end counts."""
        words = self.words
        self.edge.next_turn = self.edge.received[0] = words[at.TURN]
        self.edge.settled_turn, self.receiver.head = words[at.SETTLED], words[at.FINISHED]
        self.receiver.advance(words[at.COUNT], words[at.SEEN])

    def picture(self, found: int) -> Image:
        """The picture in a slot that has not been seen with what came last beside it; it is kept in `images` for the next time."""
        if found & at.NEW_PICTURE:
            self.images.clear()
            found -= at.NEW_PICTURE
        image = self.images[found] = self._image(found)
        return image

    def _image(self, found: int) -> Image:
        pool, slot = self._pools[found >> at.POOL_SHIFT], (found & 0xFFFFFFFF) >> at.SLOT_SHIFT
        image = self.edge.codec.ports[0].decode(memoryview(self._state.picture.tobytes()), SlotRef(pool, slot, 0))
        assert isinstance(image, Image)
        return image


assert PICTURE.size == at.PICTURE_BYTES
