"""Operators for tests of the engine: they measure, count, and get into trouble when told to."""

from __future__ import annotations

import gc
import os
import random
import signal
import struct
import time
from pathlib import Path
from typing import Literal

import numpy as np

from devices.engine import Batching
from devices.spec import RecordsSpec
from ops.contract import Config, Operator, images, port

POINTS = RecordsSpec("points", 4)
EVENTS = RecordsSpec("event", 4, ("count",))


def point(x: float, y: float = 0.0, score: float = 1.0) -> np.ndarray:
    records = np.zeros(1, POINTS.dtype)
    records["point"], records["score"] = (x, y), score
    return records


class Level(Operator):
    """Mean level of the first plane as a point's x; the frame's number as its y."""

    op = "test.level"
    inputs = {"image": port("image")}
    outputs = {"points": port("points")}

    class Config(Config):
        work_ms: float = 0.0
        burn_ms: float = 0.0

    def infer(self, specs):
        images(specs["image"], "image")
        return {"points": POINTS}

    def run(self, frame, image):
        until = time.thread_time() + self.config.burn_ms / 1000
        while time.thread_time() < until:
            pass
        if self.config.work_ms:
            time.sleep(self.config.work_ms / 1000)
        return point(float(image.planes[0].mean()), frame.seq)


class Count(Operator):
    """How many frames it has seen, and the sum of their levels."""

    op = "test.count"
    kind = "stateful"
    inputs = {"points": port("points")}
    outputs = {"event": port("event")}

    class Config(Config):
        saves: bool = True

    def infer(self, specs):
        return {"event": EVENTS}

    def open(self, context):
        super().open(context)
        self.frames, self.total = 0, 0.0

    def run(self, frame, points):
        self.frames += 1
        self.total += float(points["point"][0, 0])
        records = np.zeros(1, EVENTS.dtype)
        records["track"], records["value"], records["point"] = -1, self.frames, (self.total, 0)
        return records

    def save(self):
        return struct.pack("<qd", self.frames, self.total) if self.config.saves else None

    def restore(self, state):
        if not self.config.saves:
            raise ValueError("test.count was told to keep nothing")
        self.frames, self.total = struct.unpack("<qd", state)


class Trouble(Operator):
    """On frame `at` it raises, kills its process or hangs; `once`: the first time only, remembered in the file `marks`.

    `every`: on each frame whose number is a multiple of it, too.
    """

    op = "test.trouble"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    class Config(Config):
        at: int = 5
        every: int = 0
        how: Literal["raise", "kill", "hang", "exit", "memory", "none"] = "none"
        once: bool = True
        marks: str = ""

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, points):
        meant = frame.seq >= 0 and (frame.seq == self.config.at or (self.config.every and frame.seq % self.config.every == 0))
        if meant and self.config.how != "none" and self._now():
            match self.config.how:
                case "raise":
                    raise RuntimeError("asked to raise")
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exit":
                    os._exit(3)
                case "hang":
                    time.sleep(3600)
                case "memory":
                    np.empty(1 << 60, np.uint8)
        return points

    def _now(self):
        if not self.config.once:
            return True
        path = Path(self.config.marks)
        if path.exists():
            return False
        path.touch()
        return True


class Frail(Operator):
    """Passes points on, if it can be opened: it may raise, die, or take its time."""

    op = "test.frail"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    class Config(Config):
        how: Literal["raise", "kill", "none"] = "none"
        wait_s: float = 0.0

    def infer(self, specs):
        return {"points": POINTS}

    def open(self, context):
        time.sleep(self.config.wait_s)
        if self.config.how == "raise":
            raise RuntimeError("asked not to open")
        if self.config.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self, frame, points):
        return points


class Blind(Operator):
    """Finds nothing any more."""

    op = "test.blind"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, points):
        return points[:0]


class Tint(Operator):
    """The picture, brighter by one level: written to memory of its own."""

    op = "test.tint"
    inputs = {"image": port("image")}
    outputs = {"image": port("image")}

    def infer(self, specs):
        return {"image": images(specs["image"], "image")}

    def run(self, frame, image):
        out = self.context.image("image", image.spec)
        for target, source in zip(out.planes, image.planes, strict=True):
            np.add(source, 1, out=target)
        out.transform = image.transform
        return out


class Rehearsed(Operator):
    """x: 1 when it has been run before the first frame came. `why` makes another node of it."""

    op = "test.rehearsed"
    inputs = {"image": port("image")}
    outputs = {"points": port("points")}

    class Config(Config):
        why: int = 0

    def __init__(self, config=None, model=None):
        super().__init__(config, model)
        self.rehearsed = False

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, image):
        self.rehearsed |= frame.seq < 0 and level(image) == 0
        return point(float(self.rehearsed), frame.seq)


class Objects(Operator):
    """The same picture; and as x how many of the engine's objects live in this process, but for those that it was built with.

    Slots are none: one is known when its first picture comes.
    """

    op = "test.objects"
    inputs = {"image": port("image")}
    outputs = {"image": port("image"), "points": port("points")}

    def infer(self, specs):
        return {"image": images(specs["image"], "image"), "points": POINTS}

    def run(self, frame, image):
        gc.collect()
        kinds = [kind for kind in map(type, gc.get_objects()) if str(kind.__module__).startswith("flow.") and kind.__name__ != "SlotRef"]
        return {"image": image, "points": point(float(len(kinds)))}


class Noise(Operator):
    """A random number."""

    op = "test.noise"
    kind = "random"
    inputs = {"image": port("image")}
    outputs = {"points": port("points")}

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, image):
        return point(random.random())


class Some(Operator):
    """Every third frame only."""

    op = "test.some"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, points):
        return points if frame.seq % 3 == 0 else None


class Both(Operator):
    """Two inputs of one frame: x of the first, and how far the second's is from it."""

    op = "test.both"
    inputs = {"first": port("points"), "second": port("points")}
    outputs = {"points": port("points")}

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, first, second):
        return point(float(first["point"][0, 0]), float(second["point"][0, 1] - first["point"][0, 1]))


class Crowd(Operator):
    """Points of several streams at once: x of the last call's frames, y how many they were.

    On frame `at` of stream `of` it raises or kills its process, whatever else is in the call.
    """

    op = "test.crowd"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    class Config(Config):
        most: int = 8
        delay_ms: float = 0.0
        at: int = -1
        of: str = ""
        how: Literal["raise", "kill", "few"] = "raise"

    def infer(self, specs):
        return {"points": POINTS}

    def batching(self):
        return Batching(self.config.most, self.config.delay_ms)

    def run(self, frame, points):
        self._look(frame)
        return point(float(points["point"][0, 0]), 1)

    def run_many(self, frames, inputs):
        for frame in frames:
            self._look(frame)
        found = [point(float(given["points"]["point"][0, 0]), len(frames)) for given in inputs]
        return found[1:] if self.config.how == "few" else found

    def _look(self, frame):
        if frame.seq == self.config.at and frame.stream == self.config.of:
            if self.config.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("asked to raise")


class Wrong(Operator):
    """Gives something else than it declares."""

    op = "test.wrong"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    class Config(Config):
        gives: Literal["number", "port", "dtype"] = "number"

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, points):
        return {"number": 5, "port": {"point": points}, "dtype": np.zeros(1, EVENTS.dtype)}[self.config.gives]


PRIME, LEVELS = 9973, 251


def level(image):
    """The level of a picture that has one level. Raises where it has several: somebody wrote to a slot that is still read."""
    value = int(image.planes[0].flat[0])
    for plane in image.planes:
        if not (plane == value).all():
            raise RuntimeError("a picture of several levels: its slot was recycled while it was read")
    return value


class Look(Operator):
    """The level of a picture, which is the same before and after a wait; of up to `together` pictures at once."""

    op = "test.look"
    inputs = {"image": port("image")}
    outputs = {"points": port("points")}

    class Config(Config):
        wait_ms: float = 0.0
        together: int = 1
        delay_ms: float = 0.0

    def infer(self, specs):
        images(specs["image"], "image")
        return {"points": POINTS}

    def batching(self):
        return Batching(self.config.together, self.config.delay_ms)

    def run(self, frame, image):
        before = level(image)
        if self.config.wait_ms:
            time.sleep(self.config.wait_ms / 1000)
        if level(image) != before:
            raise RuntimeError("a picture that changed: its slot was recycled while it was read")
        return point(before, frame.seq)


class Pass(Operator):
    """The same picture, in the same memory."""

    op = "test.pass"
    inputs = {"image": port("image")}
    outputs = {"image": port("image")}

    def infer(self, specs):
        return {"image": images(specs["image"], "image")}

    def run(self, frame, image):
        return image


class Shade(Operator):
    """The next level, in memory of its own."""

    op = "test.shade"
    inputs = {"image": port("image")}
    outputs = {"image": port("image")}

    def infer(self, specs):
        return {"image": images(specs["image"], "image")}

    def run(self, frame, image):
        out = self.context.image("image", image.spec)
        for plane in out.planes:
            plane[:] = (level(image) + 1) % LEVELS
        return out


class Blend(Operator):
    """A picture whose level tells those of two."""

    op = "test.blend"
    inputs = {"first": port("image"), "second": port("image")}
    outputs = {"image": port("image")}

    def infer(self, specs):
        return {"image": images(specs["first"], "first")}

    def run(self, frame, first, second):
        out = self.context.image("image", first.spec)
        for plane in out.planes:
            plane[:] = (3 * level(first) + level(second)) % LEVELS
        return out


class Mix(Operator):
    """A point whose x tells those of two."""

    op = "test.mix"
    inputs = {"first": port("points"), "second": port("points")}
    outputs = {"points": port("points")}

    def infer(self, specs):
        return {"points": POINTS}

    def run(self, frame, first, second):
        return point((31 * int(first["point"][0, 0]) + int(second["point"][0, 0])) % PRIME, frame.seq)


class Sum(Operator):
    """A point whose x tells those of all points so far and their order."""

    op = "test.sum"
    kind = "stateful"
    inputs = {"points": port("points")}
    outputs = {"points": port("points")}

    def infer(self, specs):
        return {"points": POINTS}

    def open(self, context):
        super().open(context)
        self.total = 0

    def run(self, frame, points):
        self.total = (31 * self.total + int(points["point"][0, 0]) + 1) % PRIME
        return point(self.total, frame.seq)

    def save(self):
        return struct.pack("<q", self.total)

    def restore(self, state):
        (self.total,) = struct.unpack("<q", state)
