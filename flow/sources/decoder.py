"""Pictures out of FFmpeg: one container, its best video stream, explicit threads, damaged pictures skipped and counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from devices.spec import ImageSpec
from flow.sources.contract import Picture, SourceAwayError, SourceError
from flow.sources.pixels import describe, native, planes
from flow.sources.secrets import scrub

MAX_PIXELS = 1 << 27
"""Pixels of one picture, decoder padding included: a few bytes of a hostile file may ask for gigabytes."""

MAX_BROKEN_READS = 100
"""Failed reads in a row after which a container is given up: a demuxer may fail forever at one place."""

DEFAULT_FPS = 25.0


class Decoder:
    """The video of one open container.

    `uri` is what messages call it, `secret` what they must not show, `expected` what it should be. A lost `live` source raises
    SourceAwayError.
    """

    def __init__(
        self,
        location: str,
        *,
        uri: str,
        expected: str,
        options: Mapping[str, Any],
        av_options: Mapping[str, str],
        format: str | None = None,
        timeout: float | None = None,
        live: bool = False,
        secret: str | None = None,
    ) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.uri, self._expected, self._secret, self._live = uri, expected, secret, live
        self.corrupt = 0
        self.pictures = 0
        self._ready: deque[Any] = deque()
        threads = int(options.get("threads", 1))
        try:
            self._container = av.open(location, "r", format=format, options=dict(av_options), timeout=timeout)
        except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:
            raise self._error(error) from None
        self._reformatter = VideoReformatter()
        try:
            self._stream = self._video()
            context = self._stream.codec_context
            context.options = {"max_pixels": str(MAX_PIXELS)}
            context.thread_count = threads
            # Frame threads hold back one picture each: latency that a camera must not have.
            context.thread_type = "NONE" if threads == 1 else "SLICE" if live else "AUTO"
            self._packets = self._container.demux(self._stream)
        except BaseException:
            self._container.close()
            raise

    @property
    def fps(self) -> float:
        """Pictures a second as the container says, 25 where it says nothing believable."""
        for rate in (self._stream.average_rate, self._stream.guessed_rate):
            if rate and 0.01 <= rate <= 1000:
                return float(rate)
        return DEFAULT_FPS

    @property
    def frames(self) -> int | None:
        """Number of pictures where the container says it."""
        return self._stream.frames or None

    def read(self) -> Picture | None:
        """The next whole picture; None at the end. Raises SourceError."""
        while True:
            while self._ready:
                frame = self._ready.popleft()
                if not frame.is_corrupt:
                    return self._picture(frame)
                self.corrupt += 1
            packet = self._next_packet()
            if packet is None:
                break
            self._decode(packet)
        if not self.pictures and not self._live:
            raise SourceError(
                f"{self.uri}: expected {self._expected}, got no picture that can be decoded ({self.corrupt} damaged);"
                " it is cut off or broken: record or copy it again"
            )
        return None

    def close(self) -> None:
        """Frees the container. Must not be called while another thread reads."""
        self._ready.clear()
        self._packets = iter(())
        self._container.close()

    def _picture(self, frame: Any) -> Picture:
        import av

        self.pictures += 1
        spec: ImageSpec = describe(frame)
        pts, base = frame.pts, frame.time_base
        pts_ns = None if pts is None or not base else pts * base.numerator * 1_000_000_000 // base.denominator
        try:
            return Picture(spec, planes(native(frame, self._reformatter), spec), pts_ns)
        except av.FFmpegError as error:
            raise self._error(error) from None

    def _decode(self, packet: Any) -> None:
        import av

        try:
            self._ready.extend(packet.decode())
        except (av.FFmpegError, ValueError) as error:
            self.corrupt += 1
            if self.corrupt >= MAX_BROKEN_READS and not self.pictures:
                raise self._error(error) from None

    def _next_packet(self) -> Any:
        import av

        broken = 0
        while True:
            try:
                return next(self._packets, None)
            except (av.FFmpegError, OSError, ValueError) as error:
                if self._live:
                    raise self._error(error) from None
                broken += 1
                self.corrupt += 1
                if broken == MAX_BROKEN_READS:
                    return None
                self._packets = self._container.demux(self._stream)

    def _video(self) -> Any:
        import av

        stream: Any = self._container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            kinds = " and ".join(sorted({stream.type for stream in self._container.streams if stream.type != "video"})) or "nothing"
            raise SourceError(f"{self.uri}: expected {self._expected}, got a {self._container.format.name} with {kinds} only")
        context = stream.codec_context
        if context is None:
            raise SourceError(f"{self.uri}: expected {self._expected}, got a codec that this FFmpeg does not know; convert it to H.264")
        if context.width * context.height > MAX_PIXELS:
            raise SourceError(f"{self.uri}: expected pictures of at most {MAX_PIXELS} pixels, got {context.width}x{context.height}")
        return stream

    def _error(self, error: BaseException) -> SourceError:
        import av

        refused = isinstance(error, av.error.HTTPClientError)  # RTSP answers with the status codes of HTTP
        kind = SourceAwayError if self._live and not refused else SourceError
        hint = " (check the stream's secret)" if isinstance(error, av.HTTPUnauthorizedError) else ""
        return kind(f"{self.uri}: expected {self._expected}, got: {scrub(reason(error, live=self._live), self._secret)}{hint}")


def reason(error: BaseException, *, live: bool = False) -> str:
    """What FFmpeg says, without the location it was given (which may hold a secret)."""
    import av

    if isinstance(error, av.ExitError):
        return "no answer in time"
    if live and isinstance(error, av.InvalidDataError):  # also what a demuxer says when its connection is cut
        return "no valid answer in time"
    return str(getattr(error, "strerror", None) or type(error).__name__)


def demuxers_of_one_file() -> Iterator[str]:
    """Names of FFmpeg's demuxers that read the file they are given and nothing else: no playlists, no devices, no network."""
    import av

    outside = {
        "alsa", "applehttp", "concat", "concatf", "dash", "dv1394", "fbdev", "hls", "image2", "imf", "jack", "kmsgrab", "lavfi", "libcdio",
        "oss", "pulse", "rtp", "rtsp", "sap", "sdp", "sndio", "tee", "v4l2", "video4linux2", "video4linux2,v4l2", "x11grab", "xcbgrab",
        "decklink", "iec61883", "openal", "vapoursynth", "avisynth", "webm_dash_manifest", "rtmp",
    }  # fmt: skip
    return (name for name in sorted(av.formats_available) if name not in outside)
