"""One node of a dataflow of dora: outputs are written in place (`send_output_raw`), from a pool that is large enough (see the driver).

`python over_dora.py ROLE NBYTES RATE SECONDS WRITE OUT`: ROLE is camera, stage or sink. A received buffer cannot be sent again, so a stage
copies it into one of its own. Back to back, the sink gives a credit for each frame and four may be on their way; paced, it gives one at the
end, for which the camera waits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dora
import numpy as np
import pyarrow as pa
from ace_bench_camera import HEADER, Camera
from ace_bench_recorder import Recorder, touch

CREDITS = 4
PATIENCE_S = 0.5
"""A frame that is lost takes its credit with it: the camera then goes on without."""

ROLE, NBYTES, RATE, SECONDS, WRITE, OUT = sys.argv[1:]
NODE = dora.Node()
CREDIT = pa.array([1], pa.uint8())


def send(write: Callable[[np.ndarray], None]) -> None:
    """Sends a frame that `write` writes into shared memory."""
    sample = NODE.send_output_raw("frame", int(NBYTES))
    memory = sample.as_memoryview()
    write(np.frombuffer(memory, np.uint8))
    memory.release()
    sample.send()


def arriving() -> Iterator[np.ndarray]:
    """Frames as they come, until their sender has gone."""
    while (event := NODE.next()) is not None and event["type"] != "STOP":
        if event["type"] == "INPUT":
            yield event["value"].to_numpy(zero_copy_only=True)


def credit() -> None:
    """Waits for the sink, not for ever."""
    NODE.next(timeout=PATIENCE_S)


def camera() -> None:
    eye = Camera(float(RATE), float(SECONDS), WRITE == "1")
    while eye.wait():
        if not eye.period_ns and eye.number >= CREDITS:
            credit()
        send(eye.shoot)
    for _ in range(min(eye.number, 1 if eye.period_ns else CREDITS)):
        credit()


def stage() -> None:
    for pixels in arriving():
        touch(pixels)
        send(lambda target, pixels=pixels: np.copyto(target, pixels))


def sink() -> None:
    recorder = Recorder(Path(OUT))
    for pixels in arriving():
        recorder.see(pixels)
        if not float(RATE) or HEADER.unpack_from(pixels)[2]:
            NODE.send_output("credit", CREDIT)
    recorder.save()


{"camera": camera, "stage": stage, "sink": sink}[ROLE]()
