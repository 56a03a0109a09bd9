"""A stream as the engine sees it: numbered frames in unbroken time, through loops, reconnects and restarts."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns

import numpy as np

from devices.spec import ImageSpec
from flow.plan.value import Stream
from flow.sources import open_reader
from flow.sources.contract import Picture, Reader, SourceError
from flow.sources.secrets import read_secret
from flow.sources.timeline import Timeline

BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 15.0


@dataclass(slots=True)
class Captured:
    """One frame of a stream. `planes` are uint8 views shaped as `spec.planes` (strides free), valid until the next read.

    `seq` counts the frames decoded since the stream started; `pts_ns` starts at 0 and rises with every frame; `time_ns` is the UTC capture
    time (None for files); `mono_ns` is `time.monotonic_ns()` at capture. `kept` is as in `Picture`.
    """

    seq: int
    pts_ns: int
    time_ns: int | None
    mono_ns: int
    spec: ImageSpec
    planes: tuple[np.ndarray, ...]
    kept: int = -1


class StreamReader:
    """Reads a stream of a plan. `secret` is `user:password`; without it, the secret that the stream names is read.

    A source that is not live is read as fast as asked and raises SourceError when it breaks; at its end it begins anew with `loop`. A live
    one that is lost is opened again with exponential backoff and jitter, for ever, unless `reconnect` is off: then SourceError comes out.

    After a crash, `start_seq` is the next frame to deliver. A source that is not live is decoded from its start and gives the same frames
    with the same numbers and times; a live one goes on at `start_seq`, one frame period after `start_pts_ns`.

    `reconnects` counts how often a lost source came back; `last_error` is what it was lost by, of which `lost` is told at once.
    """

    def __init__(self, stream: Stream, *, secret: str | None = None, start_seq: int = 0, start_pts_ns: int = -1) -> None:
        self.stream = stream
        self.reconnects = 0
        self.last_error: str | None = None
        self.lost: Callable[[str], None] = lambda error: None
        self._secret = read_secret(stream.secret) if secret is None and stream.secret else secret
        self._frame_ns = round(1e9 / stream.fps)
        self._timeline = Timeline(self._frame_ns, start_pts_ns if stream.live else -1)
        self._seq = start_seq if stream.live else 0
        self._first_seq = start_seq
        self._opened_at = self._seq
        self._reader: Reader | None = None
        self._corrupt_before = 0
        self._failures = 0
        self._stopped = threading.Event()
        self._over = False
        """The same, quicker to ask."""
        self._fill: Callable[[tuple[np.ndarray, ...]], Picture | None] | None = None

    @property
    def repaired(self) -> int:
        """Timestamps that were not taken from the source."""
        return self._timeline.repaired

    @property
    def corrupt(self) -> int:
        """Damaged pictures that were skipped."""
        return self._corrupt_before + int(getattr(self._reader, "corrupt", 0))

    @property
    def fills(self) -> bool:
        """Whether the source can write its pictures where they are wanted. Raises SourceError when it cannot be opened."""
        if self._reader is None:
            self._open()
        return self._fill is not None

    def read(self) -> Captured | None:
        """The next frame; None at the end of the stream and after `stop`. Raises SourceError."""
        found = self.next()
        if found is None:
            return None
        seq, pts_ns, mono_ns, picture = found
        return Captured(seq, pts_ns, picture.time_ns, mono_ns, picture.spec, picture.planes, picture.kept)

    def next(self, planes: tuple[np.ndarray, ...] | None = None) -> tuple[int, int, int, Picture] | None:
        """As `read`, with (seq, pts_ns, mono_ns) apart; the picture is in `planes` where the source `fills` them."""
        while not self._over:
            try:
                reader = self._reader or self._open()
                picture = reader.read() if planes is None or self._fill is None else self._fill(planes)
            except SourceError as error:
                if not (self.stream.live and self.stream.reconnect):
                    raise
                self._back_off(str(error))
                continue
            if picture is None:
                if self._goes_on():
                    continue
                break
            if self._failures:
                self.reconnects += 1
                self._failures = 0
            seq = self._seq
            self._seq = seq + 1
            pts_ns = self._timeline.next(picture.pts_ns)
            if seq >= self._first_seq:
                return seq, pts_ns, monotonic_ns() if picture.mono_ns is None else picture.mono_ns, picture
        return None

    def stop(self) -> None:
        """Ends a waiting `read`, and every later one, at once; may be called from another thread, and more than once."""
        self._over = True
        self._stopped.set()
        if (reader := self._reader) is not None:
            reader.close()

    def close(self) -> None:
        """Frees the source; called by the reading thread."""
        self.stop()
        self._drop_reader()

    def _open(self) -> Reader:
        self._timeline.begin()
        self._opened_at = self._seq
        reader = self._reader = open_reader(self.stream.source, self.stream.options, self._secret)
        self._fill = getattr(reader, "fill", None)
        if self._stopped.is_set():  # `stop` came while the source was being opened
            reader.close()
        return reader

    def _goes_on(self) -> bool:
        """What follows the end of a source: the next pass of a loop, another try for a live one, or nothing."""
        if self._stopped.is_set():
            return False
        if self.stream.live:
            if getattr(self._reader, "complete", False):
                return False
            if self.stream.reconnect:
                self._back_off(f"{self.stream.source}: the stream ended")
            return self.stream.reconnect
        passed = self._seq - self._opened_at
        if not self.stream.loop or not passed:
            return False
        if self._opened_at == 0:
            self._skip_passes(passed)
        self._drop_reader()
        return True

    def _skip_passes(self, frames: int) -> None:
        """After the first pass of a loop: jumps over the whole passes before the first frame that is wanted; they are like the first."""
        passes = max(0, (self._first_seq - self._seq) // frames)
        self._seq += passes * frames
        self._timeline.shift(passes * (self._timeline.last_ns + self._frame_ns))

    def _back_off(self, error: str) -> None:
        self._drop_reader()
        self.last_error = error
        if not self._failures:
            self.lost(error)
        longest = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self._failures, 16))
        self._failures += 1
        self._stopped.wait(random.uniform(0.5, 1.0) * longest)

    def _drop_reader(self) -> None:
        if (reader := self._reader) is not None:
            reader.close()
            self._corrupt_before += int(getattr(reader, "corrupt", 0))
            self._reader = None
