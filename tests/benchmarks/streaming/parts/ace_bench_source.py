"""Sources for measurements: one that paces and stamps like the peers' producers, one that shows pictures it has in memory."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

import numpy as np
from ace_bench_camera import Camera

from devices.spec import ImageSpec
from flow.sources.contract import Picture, Probe
from flow.sources.pace import Pace


def settings(uri: str) -> dict[str, str]:
    return dict(parse_qsl(uri.partition("?")[2]))


class BenchSource:
    """`bench:?width=W&height=H&rate=R&seconds=S&write=0`: a source that waits for its consumers, rate 0 as fast as they take frames."""

    scheme = "bench"

    @classmethod
    def probe(cls, uri, options, secret):
        given = settings(uri)
        return Probe(ImageSpec(int(given["width"]), int(given["height"]), "bgr24"), float(given["rate"]) or 1000.0, live=False)

    @classmethod
    def open(cls, uri, options, secret):
        given = settings(uri)
        probe = cls.probe(uri, options, secret)
        return BenchReader(probe.spec, probe.fps, Camera(float(given["rate"]), float(given["seconds"]), given["write"] == "1"))


class BenchReader:
    def __init__(self, spec, fps, camera):
        self.spec, self.camera = spec, camera
        self.frame_ns = round(1e9 / fps)
        self._own = None

    def fill(self, planes):
        if not self.camera.wait():
            return None
        pts = self.camera.number * self.frame_ns
        self.camera.shoot(planes[0])
        return Picture(self.spec, planes, pts)

    def read(self):
        if self._own is None:
            self._own = self.spec.split(np.zeros(self.spec.nbytes, np.uint8))
        return self.fill(self._own)

    def close(self):
        pass


class LoopedSource:
    """`looped:NAME?fps=F&seconds=S`: a live 1280x720 camera that shows a few pictures it has in memory, over and over."""

    scheme = "looped"
    SPEC = ImageSpec(1280, 720, "yuv420p")

    @classmethod
    def probe(cls, uri, options, secret):
        return Probe(cls.SPEC, float(settings(uri)["fps"]), live=True, kept=LoopedReader.PICTURES)

    @classmethod
    def open(cls, uri, options, secret):
        given = settings(uri)
        return LoopedReader(float(given["fps"]), float(given["seconds"]))


class LoopedReader:
    PICTURES = 4

    def __init__(self, fps, seconds):
        self.period = 1 / fps
        self.left = round(seconds * fps)
        self.due = None
        self.pictures = pictures(self.PICTURES)
        self.pace = Pace()

    @property
    def complete(self):
        return self.left <= 0

    def read(self):
        if self.left <= 0:
            return None
        now = time.monotonic()
        self.due = now if self.due is None else self.due + self.period
        if not self.pace.wait(self.due - now):
            return None
        self.left -= 1
        shown = self.left % self.PICTURES
        return Picture(LoopedSource.SPEC, self.pictures[shown], None, time.time_ns(), kept=shown)

    def close(self):
        self.pace.end()


def pictures(count):
    """Smooth 720p pictures, as planes."""
    made = []
    for number in range(count):
        planes = LoopedSource.SPEC.split(np.empty(LoopedSource.SPEC.nbytes, np.uint8))
        for plane in planes:
            y, x = np.ogrid[: plane.shape[0], : plane.shape[1]]
            plane[...] = (x * (number + 1) + y * 2) // 8 % 256
        made.append(planes)
    return made
