"""Annotated video: the drawn pictures as H.264 (MPEG-4 part 2 where there is no x264), playable after a kill."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from flow.plan.value import Sink as SinkPlan
from flow.result import Result
from flow.sinks.contract import SinkError
from flow.sinks.path import check_path, open_path
from ops.value import Image

CLOCK = 90_000
"""Ticks a second of MP4 and Matroska files: that of MPEG."""

_FORMATS: Mapping[str, tuple[str, dict[str, str]]] = {
    # A fragment a key frame, none of them rewritten: what was written before a kill can be played.
    ".mp4": ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}),
    ".mkv": ("matroska", {"cluster_time_limit": "1000", "flush_packets": "1"}),
    ".avi": ("avi", {"flush_packets": "1"}),
}


class Video:
    """`NAME.mp4`, `.mkv` or `.avi`. The first picture sets the size; others are fitted into it between black bars.

    MP4 and Matroska keep the stream's own times; AVI has none and plays at the stream's rate. After a crash the file of the dead worker is
    kept, and the video goes on in `NAME.2.mp4` and so on.
    """

    targets: ClassVar[tuple[str, ...]] = tuple(_FORMATS)
    lasting: ClassVar[bool] = False  # the encoder, and the fragment that is not full yet, die with the worker
    wants: str = "picture"

    @classmethod
    def check(cls, target: str) -> None:
        check_path(target)

    def __init__(self, plan: SinkPlan, fps: float) -> None:
        self._target = plan.target
        self._fps = Fraction(fps).limit_denominator(1001)
        self._lock = -1
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._last_pts = -1

    def open(self, *, resume: bool) -> Mapping[str, int]:
        path = Path(self._target.removeprefix("file:"))
        number = 2
        while resume and path.exists() and path.stat().st_size:
            path = path.with_name(f"{Path(self._target).stem}.{number}{path.suffix}")
            number += 1
        self._path = path
        self._lock = open_path(str(path))
        os.ftruncate(self._lock, 0)
        return {}

    def write(self, result: Result, picture: Image | None) -> None:
        if picture is None:
            return
        try:
            frame = _frame(picture)
            if self._container is None:
                self._begin(frame)
            frame = self._fitted(frame)
            frame.pts = self._pts(result)
            self._container.mux(self._stream.encode(frame))
        except (OSError, ValueError, RuntimeError) as error:
            raise self._error(error) from None

    def close(self) -> None:
        container, self._container = self._container, None
        try:
            if container is not None:
                container.mux(self._stream.encode(None))
        except (OSError, ValueError, RuntimeError) as error:
            raise self._error(error) from None
        finally:
            try:
                if container is not None:
                    container.close()
                elif self._lock >= 0 and not os.fstat(self._lock).st_size:
                    self._path.unlink(missing_ok=True)  # no picture came: a file of nothing is no video
            finally:
                if self._lock >= 0:
                    os.close(self._lock)
                    self._lock = -1

    def _begin(self, frame: Any) -> None:
        import av

        self._size = (max(2, frame.width // 2 * 2), max(2, frame.height // 2 * 2))  # 4:2:0 has no odd sizes
        container, options = _FORMATS[self._path.suffix.lower()]
        self._container = av.open(f"file:{self._path}", "w", format=container, options=options)
        x264 = "libx264" in av.codecs_available
        stream: Any = self._container.add_stream("libx264" if x264 else "mpeg4", rate=self._fps)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / self._fps if container == "avi" else Fraction(1, CLOCK)
        context.gop_size = max(1, round(self._fps))
        context.max_b_frames = 0
        context.thread_count = 1
        context.colorspace, context.color_range = (1 if self._is_hd else 6), 1
        if x264:
            context.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "23"}
        else:
            context.options = {"qscale": "4"}
        self._stream = stream

    @property
    def _is_hd(self) -> bool:
        return self._size[0] >= 1280 or self._size[1] > 576

    def _fitted(self, frame: Any) -> Any:
        """The frame in the video's size and format, between black bars where its shape differs."""
        width, height = self._size
        if (frame.width, frame.height) != self._size and abs(frame.width - width) + abs(frame.height - height) > 2:
            frame = _letterbox(frame, width, height)
        matrix = 1 if self._is_hd else 5
        return frame.reformat(width, height, "yuv420p", dst_colorspace=matrix, dst_color_range=1, threads=1)

    def _pts(self, result: Result) -> int:
        """Ticks of the encoder's clock; rising even where two times fall on one tick."""
        due = self._last_pts + 1 if self._path.suffix.lower() == ".avi" else result.pts_ns * CLOCK // 1_000_000_000
        self._last_pts = max(self._last_pts + 1, due)
        return self._last_pts

    def _error(self, error: BaseException) -> SinkError:
        why = getattr(error, "strerror", None) or error
        return SinkError(f"{self._target}: expected to write a picture, got: {why}")


def _frame(picture: Image) -> Any:
    """The picture as an `av.VideoFrame`, upright; bgr24 without a copy."""
    import av

    spec = picture.spec
    if spec.format == "bgr24":
        pixels = np.ascontiguousarray(np.rot90(picture.planes[0], -spec.rotation // 90) if spec.rotation else picture.planes[0])
        return av.VideoFrame.from_numpy_buffer(pixels, "bgr24")
    frame: Any = av.VideoFrame(spec.width, spec.height, {"gray8": "gray"}.get(spec.format, spec.format))
    for plane, values in zip(frame.planes, picture.planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        flat = values.reshape(len(values), -1)
        rows[: len(values), : flat.shape[1]] = flat
    if spec.format in ("yuv420p", "nv12", "yuv422p", "yuv444p", "yuyv422", "gray8"):
        frame.color_range = 2 if spec.full_range else 1
        frame.colorspace = {"bt601": 5, "bt709": 1, "bt2020": 9}[spec.matrix]
    if spec.rotation:
        upright = np.rot90(frame.reformat(format="bgr24", threads=1).to_ndarray(), -spec.rotation // 90)
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(upright), "bgr24")
    return frame


def _letterbox(frame: Any, width: int, height: int) -> Any:
    import av

    scale = min(width / frame.width, height / frame.height)
    w, h = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    x, y = (width - w) // 2, (height - h) // 2
    canvas[y : y + h, x : x + w] = frame.reformat(w, h, "bgr24", threads=1).to_ndarray()
    return av.VideoFrame.from_numpy_buffer(canvas, "bgr24")
