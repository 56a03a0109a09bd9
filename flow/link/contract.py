"""The link contract: one producer's worker to one consumer's worker, in order, with credits, over any carrier.

An entry counts as *durable* once it survives the sender's death, and as *done* once the receiver has finished with it. Where a link
itself keeps entries through deaths, whoever opens it anew finds them there; elsewhere the sender keeps every entry until it is done, and
sends the rest again when the link is opened anew. The receiver tells new from old by their numbers.
"""

from __future__ import annotations

from typing import Protocol


class Sender(Protocol):
    """The producer's end."""

    @property
    def durable(self) -> int:
        """Entries 0..durable-1 survive this worker's death."""
        ...

    @property
    def done(self) -> int:
        """Entries 0..done-1 are finished with."""
        ...

    def unfinished(self) -> list[tuple[int, bytes]] | None:
        """Entries of an earlier life that are not done; None where only the receiver knows, whose first acknowledgement then says it."""
        ...

    def send(self, index: int, data: bytes) -> None:
        """Sends entry `index`; never waits (the caller counts credits). Where the receiver must greet, not before it has.

        To a receiver that has died it goes nowhere: the link will be opened anew, and what is not done is sent again.
        """
        ...

    def poll(self) -> bool:
        """Takes in what the receiver said; whether anything changed."""
        ...

    def stirs(self) -> bool:
        """Whether `poll` may find something. False is certain only while nobody says so: asked after a worker's bell was told to ring."""
        ...

    @property
    def waitable(self) -> object | None:
        """What a zmq.Poller can wait on; None for a link that rings the worker's bell, or needs none."""
        ...

    def close(self) -> None: ...


class Receiver(Protocol):
    """The consumer's end."""

    def receive(self) -> tuple[int, memoryview] | None:
        """The next entry and its index, or None; never waits."""
        ...

    def acknowledge(self, received: int, done: int) -> None:
        """Entries below `received` have arrived and those below `done` are finished with."""
        ...

    def stirs(self) -> bool:
        """Whether `receive` may find something, as with a sender's."""
        ...

    @property
    def waitable(self) -> object | None: ...

    def close(self) -> None: ...
