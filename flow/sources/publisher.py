"""Sends frames from a program of one's own to a `zmq:` source."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np

from devices.spec import ImageSpec
from flow.sources.wire import END, Header, pack


class FramePublisher:
    """Publishes numpy frames at a ZeroMQ address (`tcp://127.0.0.1:5555` or `ipc:///run/user/1000/frames`).

        with FramePublisher("tcp://127.0.0.1:5555", fps=30) as out:
            out.send(pixels)          # uint8 (H, W, 3) blue, green, red

    Never waits: frames that no subscriber takes in time are lost, as with a camera. One thread at a time. Raises zmq.ZMQError when the
    address cannot be bound.
    """

    def __init__(self, address: str, *, fps: float | None = None) -> None:
        import zmq

        self._fps = fps
        self._socket: Any = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, 8)
        self._socket.setsockopt(zmq.LINGER, 1000)
        try:
            self._socket.bind(address)
        except zmq.ZMQError:
            self._socket.close(0)
            raise

    def send(
        self, *planes: np.ndarray, spec: ImageSpec | None = None, pts_ns: int | None = None, time_ns: int | None = None
    ) -> None:  # fmt: skip
        """Sends one frame: its planes as `spec` says, or one (H, W, 3) bgr24, (H, W, 4) bgra or (H, W) gray8 array. Raises WireError."""
        if spec is None:
            kind: Any = {2: "gray8"}.get(planes[0].ndim) or {3: "bgr24", 4: "bgra"}.get(planes[0].shape[-1], "bgr24")
            spec = ImageSpec(planes[0].shape[1], planes[0].shape[0], kind)
        header = Header(
            ace=1, width=spec.width, height=spec.height, format=spec.format, full_range=spec.full_range, matrix=spec.matrix,
            rotation=spec.rotation, pts_ns=pts_ns, time_ns=time_ns, fps=self._fps,
        )  # fmt: skip
        self._socket.send(pack(header, planes))

    def close(self) -> None:
        """Tells subscribers that the stream has ended, and frees the address."""
        if not self._socket.closed:
            self._socket.send(END)
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, raised: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
