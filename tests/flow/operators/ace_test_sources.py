"""Sources for tests: a camera that vanishes and comes back, and flat pictures whose level tells their number."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np

from devices.spec import ImageSpec
from flow.sources.contract import Picture, Probe, SourceError
from flow.sources.synthetic import SyntheticSource

SPEC = ImageSpec(64, 48, "gray8")
PICTURES = 10


class FlakySource:
    """`flaky:FILE`: the file remembers that it has vanished once."""

    scheme = "flaky"

    @classmethod
    def probe(cls, uri, options, secret):
        return Probe(SPEC, 50.0, True)

    @classmethod
    def open(cls, uri, options, secret):
        return FlakyReader(Path(uri.removeprefix("flaky:")))


class FlakyReader:
    def __init__(self, mark):
        self.mark = mark
        self.second = mark.exists()
        self.read_so_far = 0

    @property
    def complete(self):
        return self.second and self.read_so_far == PICTURES

    def read(self):
        if self.read_so_far == PICTURES:
            if self.second:
                return None
            self.mark.touch()
            raise SourceError("the camera was unplugged")
        time.sleep(0.02)
        self.read_so_far += 1
        return Picture(SPEC, (np.full((48, 64), 77, np.uint8),), self.read_so_far * 20_000_000, time.time_ns())

    def close(self):
        pass


class StampsSource:
    """`stamps:frames=60&fps=25&width=32&height=16&live=0&fill=0&grow=0&breaks=0&times=&stalls=-1&until=&kept=0`: the level of picture k is
    (7 k + 13) % 251.

    `live`: paced by the clock, never waiting; `breaks`: an error in place of this picture, `stalls`: nothing, for ever or until there is a
    file `until`; `grow`: pictures from this number on are twice as wide; `times`: what its
    timestamps do (`repeat`, `jump`, `back`, `none`); `kept`: it has so many pictures in memory and shows them again and again.
    """

    scheme = "stamps"

    @classmethod
    def probe(cls, uri, options, secret):
        reader = StampsReader(uri)
        return Probe(reader.spec, reader.fps, reader.live, reader.frames, reader.kept)

    @classmethod
    def open(cls, uri, options, secret):
        reader = StampsReader(uri)
        return FillingStampsReader(uri) if reader.fill_in else reader


class StampsReader:
    complete = True

    def __init__(self, uri):
        asked = dict(parse_qsl(uri.removeprefix("stamps:")))
        self.frames, self.fps = int(asked.get("frames", 60)), float(asked.get("fps", 25))
        self.live, self.fill_in, self.grow, self.breaks = (int(asked.get(name, 0)) for name in ("live", "fill", "grow", "breaks"))
        self.kept = int(asked.get("kept", 0))
        self.times, self.stalls = asked.get("times", ""), int(asked.get("stalls", -1))
        self.until = Path(asked["until"]) if "until" in asked else None
        self.closed = False
        self.spec = ImageSpec(int(asked.get("width", 32)), int(asked.get("height", 16)), "gray8")
        self.number = 0
        self.pictures = []
        self.started = time.monotonic()

    def pts(self):
        period, number = round(1e9 / self.fps), self.number
        match self.times:
            case "none":
                return None
            case "repeat":
                return number // 3 * 3 * period
            case "jump":
                return (number + (1000 if number >= self.frames // 2 else 0)) * period
            case "back":
                return (number % 10) * period
            case _:
                return number * period

    def stalled(self):
        return self.number == self.stalls and not (self.until and self.until.exists())

    def wait(self):
        while self.stalled() and not self.closed:
            time.sleep(0.01)
        if self.live:
            time.sleep(max(0.0, self.started + self.number / self.fps - time.monotonic()))

    def read(self):
        if self.number == self.frames:
            return None
        self.wait()
        if self.stalled():
            return None
        if self.breaks and self.number == self.breaks:
            raise SourceError(f"stamps: told to break at picture {self.breaks}")
        if self.kept:
            return self.shown()
        spec = self.spec
        if self.grow and self.number >= self.grow:
            spec = ImageSpec(2 * spec.width, spec.height, spec.format)
        return self.picture(spec, (np.empty((spec.height, spec.width), np.uint8),))

    def shown(self):
        if not self.pictures:
            self.pictures = [np.full((self.spec.height, self.spec.width), (7 * each + 13) % 251, np.uint8) for each in range(self.kept)]
        which = self.number % self.kept
        made = Picture(self.spec, (self.pictures[which],), self.pts(), time.time_ns(), kept=which)
        self.number += 1
        return made

    def picture(self, spec, planes):
        planes[0][:] = (7 * self.number + 13) % 251
        made = Picture(spec, planes, self.pts(), time.time_ns() if self.live else None)
        self.number += 1
        return made

    def close(self):
        self.closed = True


class FillingStampsReader(StampsReader):
    def fill(self, planes):
        if self.number == self.frames:
            return None
        self.wait()
        return self.picture(self.spec, planes)


class GatedSource:
    """`gated:FOLDER?at=20,36&…`: `synthetic:pets?…`. It waits before these pictures for a file of that number, and is slow while there is
    a file `slow`.
    """

    scheme = "gated"

    @classmethod
    def probe(cls, uri, options, secret):
        return SyntheticSource.probe(scene_of(uri), options, secret)

    @classmethod
    def open(cls, uri, options, secret):
        return GatedReader(uri, options)


class GatedReader:
    def __init__(self, uri, options):
        folder, _, asked = uri.removeprefix("gated:").partition("?")
        self.folder, self.gates, self.number = Path(folder), dict(parse_qsl(asked))["at"].split(","), 0
        self.camera = SyntheticSource.open(scene_of(uri), options, None)
        self.closed = False

    @property
    def complete(self):
        return self.camera.complete

    def read(self):
        if (self.folder / "slow").exists():
            time.sleep(0.2)
        while str(self.number) in self.gates and not (self.folder / str(self.number)).exists() and not self.closed:
            time.sleep(0.005)
        self.number += 1
        return None if self.closed else self.camera.read()

    def close(self):
        self.closed = True
        self.camera.close()


def scene_of(uri):
    return "synthetic:pets?" + "&".join(part for part in uri.partition("?")[2].split("&") if not part.startswith("at="))
