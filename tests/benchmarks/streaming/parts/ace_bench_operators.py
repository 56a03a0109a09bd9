"""Operators for measurements: they touch a picture and pass it on, record it, do nothing, or say how long a session took to load."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from ace_bench_recorder import Recorder, touch

from devices.spec import RecordsSpec
from ops.contract import Operator, images, port
from ops.nn.infer import Infer

POINTS = RecordsSpec("points", 1)


class Pass(Operator):
    """Touches three bytes of the picture and passes it on; `device` gives it a worker of its own."""

    op = "bench.pass"
    inputs = {"image": port("image")}
    outputs = {"image": port("image")}
    placement = frozenset({"device"})

    class Config(Operator.Config):
        device: str = "auto"

    def infer(self, specs):
        return {"image": images(specs["image"], "image")}

    def run(self, frame, image):
        touch(image.planes[0])
        return image


class Record(Operator):
    """Records when pictures arrive, and emits nothing. Not pure: so it lives at the end of its business, not beside the source."""

    op = "bench.record"
    kind = "random"
    inputs = {"image": port("image")}
    outputs = {"points": port("points")}

    class Config(Operator.Config):
        out: str

    def infer(self, specs):
        return {"points": POINTS}

    def open(self, context):
        super().open(context)
        self.recorder = Recorder(Path(self.config.out))

    def run(self, frame, image):
        self.recorder.see(image.planes[0])

    def close(self):
        self.recorder.save()


class Spin(Operator):
    """Computes in Python, without ever letting go of the interpreter, for `ms`; emits nothing."""

    op = "bench.spin"
    kind = "random"
    inputs = {"image": port("image")}
    outputs = {"points": port("points")}

    class Config(Operator.Config):
        ms: float

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, image):
        end = time.thread_time() + self.config.ms / 1e3
        while time.thread_time() < end:
            sum(range(100))


class First(Operator):
    """No points for any picture: the first of a chain that does nothing."""

    op = "bench.first"
    inputs = {"image": port("image")}
    outputs = {"points": port("points")}

    def __init__(self, config=None, model=None):
        super().__init__(config, model)
        self.none = np.empty(0, POINTS.dtype)

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, image):
        return self.none


class Idle(Operator):
    """Passes points on."""

    op = "bench.idle"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, points):
        return points


class TimedInfer(Infer):
    """Inference that adds a line to the file `log` whenever it has got its session: the milliseconds that took."""

    op = "bench.infer"

    class Config(Infer.Config):
        log: str

    def open(self, context):
        started = time.monotonic()
        super().open(context)
        with Path(self.config.log).open("a") as log:
            log.write(f"{(time.monotonic() - started) * 1e3}\n")
