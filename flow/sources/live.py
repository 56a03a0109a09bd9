"""What the live sources share: reading in a thread of its own, and what to say of one that is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from devices.spec import ImageSpec, PixelFormat
from flow.sources.contract import Picture, Probe, Reader, SourceAwayError
from flow.sources.decoder import DEFAULT_FPS, Decoder


class LiveReader:
    """Opens and reads a camera in a thread of its own, one picture ahead.

    FFmpeg cannot be interrupted from outside and must not be closed while it reads. So `close` ends a waiting `read` at once, and the
    thread frees the camera when FFmpeg comes back. The first `read` raises what opening raised; `read` raises SourceAwayError after
    `patience` seconds without a picture, for drivers and resolvers that know no timeout.
    """

    def __init__(self, open: Callable[[], Decoder], *, uri: str, patience: float = 15.0) -> None:
        self._open, self._uri, self._patience = open, uri, patience
        self._changed = threading.Condition()
        self._picture: Picture | None = None
        self._error: Exception | None = None
        self._ended = self._closed = False
        self.corrupt = 0
        self.fps: float | None = None
        threading.Thread(target=self._run, name="camera", daemon=True).start()

    def read(self) -> Picture | None:
        with self._changed:
            woken = self._changed.wait_for(lambda: self._picture or self._ended or self._closed, self._patience)
            if not woken:
                raise SourceAwayError(f"{self._uri}: expected a picture, got none for {self._patience:g} s; is the camera sending?")
            picture, self._picture = self._picture, None
            self._changed.notify_all()
            if self._closed:
                return None
            if picture is None and self._error is not None:
                raise self._error
            return picture

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._picture = None
            self._changed.notify_all()

    def _run(self) -> None:
        decoder: Decoder | None = None
        try:
            decoder = self._open()
            self.fps = decoder.fps
            while not self._closed and (picture := decoder.read()) is not None:
                picture.time_ns, picture.mono_ns = time.time_ns(), time.monotonic_ns()
                self._hand_over(picture, decoder.corrupt)
        except Exception as error:  # handed to `read`
            self._error = error
        finally:
            if decoder is not None:
                decoder.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _hand_over(self, picture: Picture, corrupt: int) -> None:
        with self._changed:
            self.corrupt = corrupt
            self._changed.wait_for(lambda: self._picture is None or self._closed)
            if not self._closed:
                self._picture = picture
                self._changed.notify_all()


class Camera(Reader, Protocol):
    """An open live source. `fps`: pictures a second as it says itself, once it has answered."""

    fps: float | None


def probe_live(open: Callable[[], Camera], options: Mapping[str, Any], format: PixelFormat) -> Probe:
    """What a live source is, by its first picture; by `size` and `fps` of the options, and this format, when it is away.

    Raises SourceError.
    """
    reader: Camera | None = None
    try:
        reader = open()
        picture = reader.read()
        if picture is None:
            raise SourceAwayError("a live source: expected pictures, got the end of the stream")
        return Probe(picture.spec, float(options.get("fps") or reader.fps or DEFAULT_FPS), live=True)
    except SourceAwayError as error:
        if not options.get("size") or not options.get("fps"):
            raise SourceAwayError(f"{error} (to start before it answers, give the stream `size` and `fps`)") from None
        width, height = options["size"]
        return Probe(ImageSpec(int(width), int(height), format), float(options["fps"]), live=True)
    finally:
        if reader is not None:
            reader.close()
