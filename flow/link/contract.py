"""The link contract: one producer's worker to one consumer's worker, in order, with credits, over any carrier.

An entry counts as *durable* once it survives the sender's death, and as *done* once the receiver has finished with it. The sender keeps
every entry until it is done and sends the rest again when the link is opened anew; the receiver tells the two apart by sequence numbers.
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

    def send(self, index: int, data: bytes) -> None:
        """Sends entry `index`; never waits (the caller counts credits). Not before the receiver's first acknowledgement, its greeting.

        To a receiver that has died it goes nowhere: the link will be opened anew, and what is not done is sent again.
        """
        ...

    def poll(self) -> bool:
        """Takes in what the receiver said; whether anything changed."""
        ...

    @property
    def waitable(self) -> object:
        """What a zmq.Poller can wait on: a socket or a file descriptor."""
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

    @property
    def waitable(self) -> object: ...

    def close(self) -> None: ...
