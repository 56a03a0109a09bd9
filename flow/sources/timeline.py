"""Unbroken time for a stream, whatever its source's timestamps do."""

from __future__ import annotations


class Timeline:
    """Turns a source's timestamps into ones that begin at 0 and rise with every frame.

    A timestamp that is missing, repeated or backward, and the first after a loop or reconnect, becomes the last one plus one frame period
    and is counted in `repaired`. When the source goes on from a backward jump, it is followed from there; when it was one bad timestamp,
    the old offset holds. What comes out depends on differences only: a second pass over the same timestamps gives the same, shifted.
    """

    def __init__(self, frame_ns: int, last_ns: int = -1) -> None:
        self.last_ns = last_ns
        self.repaired = 0
        self._frame_ns = frame_ns
        self.begin()

    def begin(self) -> None:
        """The source was opened (again): its timestamps have nothing to do with those before."""
        self._fresh = True
        self._offset: int | None = None
        self._other: int | None = None

    def next(self, pts_ns: int | None) -> int:
        """The time of the next frame, in ns."""
        going_on = self.last_ns + self._frame_ns if self.last_ns >= 0 else 0
        if pts_ns is None or self._offset is None:
            time_ns = going_on
            if pts_ns is None or (self._fresh and self.last_ns >= 0):
                self.repaired += 1
            if pts_ns is not None:
                self._offset = pts_ns - time_ns
        elif pts_ns - self._offset > self.last_ns:
            time_ns = pts_ns - self._offset
        elif self._other is not None and pts_ns - self._other > self.last_ns:
            time_ns = pts_ns - self._other
            self._offset, self._other = self._other, None
        else:
            time_ns = going_on
            self._other = pts_ns - time_ns
            self.repaired += 1
        self._fresh = False
        self.last_ns = time_ns
        return time_ns

    def shift(self, ns: int) -> None:
        """Passes over time in which frames were, but are not wanted."""
        self.last_ns += ns
