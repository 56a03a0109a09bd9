"""The `local` carrier: two chains of one worker meet in its memory. It dies with the worker, and both ends with it."""

from __future__ import annotations

from collections import deque


class LocalLink:
    """Both directions. What the consumer does comes in the worker's next round: no bell is needed.

    `done`: entries before it were finished with in an earlier life.
    """

    def __init__(self, done: int = 0) -> None:
        self.entries: deque[tuple[int, memoryview]] = deque()
        self.done = done

    def ends(self) -> tuple[LocalSender, LocalReceiver]:
        return LocalSender(self), LocalReceiver(self)


class LocalSender:
    """The producer's end."""

    waitable = None

    def __init__(self, link: LocalLink) -> None:
        self._link = link
        self.durable = self.done = link.done

    def unfinished(self) -> list[tuple[int, bytes]] | None:
        return []

    def send(self, index: int, data: bytes) -> None:
        self._link.entries.append((index, memoryview(data)))
        self.durable = index + 1

    def poll(self) -> bool:
        moved = self._link.done > self.done
        self.done = self._link.done
        return moved

    def stirs(self) -> bool:
        return self._link.done > self.done

    def close(self) -> None:
        pass


class LocalReceiver:
    """The consumer's end."""

    waitable = None

    def __init__(self, link: LocalLink) -> None:
        self._link = link

    def receive(self) -> tuple[int, memoryview] | None:
        return self._link.entries.popleft() if self._link.entries else None

    def stirs(self) -> bool:
        return bool(self._link.entries)

    def acknowledge(self, received: int, done: int) -> None:
        self._link.done = max(self._link.done, done)

    def close(self) -> None:
        pass
