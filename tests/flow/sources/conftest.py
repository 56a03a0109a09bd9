from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flow.plan.value import Stream


def picture(index: int, width: int, height: int) -> np.ndarray:
    """A bgr24 picture that tells its index: grey rising with it, a white bar moving."""
    pixels = np.full((height, width, 3), 16 + index * 5 % 200, np.uint8)
    pixels[:, index * 3 % width : index * 3 % width + 4] = 255
    return pixels


def write_video(
    path: Path, *, frames: int = 12, size: tuple[int, int] = (64, 48), codec: str = "libx264", pix: str = "yuv420p", fps: int = 25,
    format: str | None = None, options: dict[str, str] | None = None, codec_options: dict[str, str] | None = None,
    pts: Callable[[int], int] | None = None, rotation: int = 0, colorspace: int | None = None, full: bool = False,
) -> Path:  # fmt: skip
    import av

    with av.open(path, "w", format=format, options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, pix
        stream.codec_context.thread_count = 1
        stream.options = codec_options or {}
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        if full:
            stream.codec_context.color_range = 2
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), "bgr24")
            frame = frame.reformat(format=pix, dst_color_range=2 if full else None)
            if pts is not None:
                frame.pts, frame.time_base = pts(index), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video() -> Callable[..., Path]:
    """Writes a small video: `video(path, frames=…, size=…, codec=…, pts=…, …) -> path`."""
    return write_video


@pytest.fixture
def make_stream() -> Callable[..., Stream]:
    """A plan's stream over a source, as the plan would have made it: `make_stream(uri, live=…, …)`."""
    from devices.spec import ImageSpec
    from flow.sources import probe

    def make(uri: str, *, live: bool = False, fps: float | None = None, **more: Any) -> Stream:
        if live:
            return Stream("front", "a", uri, ImageSpec(64, 48, "yuv420p"), fps or 25.0, True, **more)
        seen = probe(uri)
        return Stream("front", "a", uri, seen.spec, fps or seen.fps, seen.live, **more)

    return make


@pytest.fixture
def descriptors() -> Callable[[], int]:
    """Counts the open file descriptors of this process."""
    return lambda: sum(1 for _ in Path("/proc/self/fd").iterdir())


class RtspServer:
    """A camera of one H.264 video over RTSP 1.0 (RFC 2326) with interleaved RTP (RFC 6184): each connection plays `frames` and is cut."""

    def __init__(
        self, folder: Path, *, frames: int, secret: str | None = None, port: int = 0, silent: bool = False, hold: bool = False
    ) -> None:
        path = write_video(
            folder / "camera.h264", frames=60, format="h264", codec_options={"x264-params": "repeat-headers=1:keyint=5:bframes=0"}
        )
        self.units = [unit for unit in path.read_bytes().replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
        self.frames, self.secret, self.silent, self.hold = frames, secret, silent, hold
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.uri = f"rtsp://127.0.0.1:{self.port}/live"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                while head := list(iter(lambda: lines.readline().strip(), b"")):
                    method = head[0].split()[0].decode()
                    fields = dict(line.decode().split(": ", 1) for line in head[1:] if b": " in line)
                    self.requests.append(method)
                    if self.silent:
                        continue
                    self._answer(connection, method, fields)
                    if method == "PLAY":
                        self._play(connection)
                        if self.hold:  # connected, and nothing more comes
                            lines.read()
                        return
        except OSError:
            pass

    def _answer(self, connection: socket.socket, method: str, fields: dict[str, str]) -> None:
        status, more, body = "200 OK", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""
        right = self.secret and "Basic " + base64.b64encode(self.secret.encode()).decode()
        if right and method != "OPTIONS" and fields.get("Authorization") != right:
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
        elif method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=framerate:25\r\na=control:video\r\n"
            )
            more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        text = f"RTSP/1.0 {status}\r\nCSeq: {fields.get('CSeq', '0')}\r\nSession: 1\r\n{more}\r\n{body}"
        connection.sendall(text.encode())

    def _play(self, connection: socket.socket) -> None:
        sequence = shown = 0
        while shown < self.frames:
            for unit in self.units:
                is_picture = unit[0] & 31 in (1, 5)
                marker = 0x80 if is_picture else 0
                packet = struct.pack(">BBHII", 0x80, marker | 96, sequence & 0xFFFF, 90_000 + shown * 3600, 7) + unit
                connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                sequence += 1
                if is_picture:
                    shown += 1
                    if shown == self.frames:
                        break
                    time.sleep(0.005)


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Callable[..., RtspServer]]:
    """Starts RTSP cameras: `camera(frames=…, secret=…, port=…)`."""
    started: list[RtspServer] = []

    def start(**settings: Any) -> RtspServer:
        started.append(RtspServer(tmp_path, **settings))
        return started[-1]

    yield start
    for server in started:
        server.close()
