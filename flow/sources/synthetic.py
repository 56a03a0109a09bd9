"""The synthetic camera: films a rendered scene, `synthetic:home?seed=3&size=640x360&fps=30&frames=300&rate=live`."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import numpy as np

from devices.spec import ImageSpec
from flow.scenes import LARGEST, SCENES, SMALLEST, open_scene
from flow.sources.contract import Picture, Probe, SourceError
from flow.sources.pace import Pace

SETTINGS = ("seed", "size", "fps", "frames", "rate")
LATE = 0.25
"""Seconds that a live camera may lag and still catch up; beyond that its clock goes on from where it is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the address says. `live`: paced by the clock, as a camera is; otherwise as fast as it is read, as a file is."""

    scene: str
    seed: int = 0
    width: int = 640
    height: int = 360
    fps: float = 30.0
    frames: int | None = None
    live: bool = True

    @property
    def probe(self) -> Probe:
        return Probe(ImageSpec(self.width, self.height, "yuv420p"), self.fps, self.live, self.frames)


class SyntheticSource:
    """A camera whose ground truth is known.

    Settings after `?`: `seed` (0), `size` (640x360), `fps` (30), `frames` (endless), `rate`: `live` (default, paced by the clock) or
    `max` (every frame at once when it is read, as from a file). Pictures are yuv420p, BT.601, limited range, as decoders deliver them.
    """

    scheme: ClassVar[str] = "synthetic"

    @classmethod
    def probe(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        """Reads the address; renders nothing. Raises SourceError."""
        return parse(uri, options, secret).probe

    @classmethod
    def open(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> SyntheticReader:
        """Sets up the scene, which takes some tenths of a second. Raises SourceError."""
        return SyntheticReader(parse(uri, options, secret))


class SyntheticReader:
    """An open synthetic camera; its clock starts with the first read."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.spec = settings, settings.probe.spec
        self.scene = open_scene(settings.scene, seed=settings.seed, width=settings.width, height=settings.height, fps=settings.fps)
        self._pace = Pace()
        self._next = 0
        self._due: float | None = None

    def read(self) -> Picture | None:
        """The next picture; None after the last one, or once closed."""
        index = self._next
        if self._pace.ended or (self.settings.frames is not None and index >= self.settings.frames):
            return None
        if self.settings.live and not self._wait():
            return None
        self._next += 1
        taken = time.time_ns() if self.settings.live else None
        planes = yuv420p(self.scene.frame(index))
        return Picture(self.spec, planes, round(index * 1_000_000_000 / self.settings.fps), taken)

    @property
    def complete(self) -> bool:
        """Whether it has filmed as many frames as it was asked for."""
        return self.settings.frames is not None and self._next >= self.settings.frames

    def close(self) -> None:
        """Ends a waiting `read` too."""
        self._pace.end()

    def _wait(self) -> bool:
        """Until the next picture is due; False when closed meanwhile."""
        now = time.monotonic()
        due = now if self._due is None or now - self._due > LATE else self._due
        self._due = due + 1 / self.settings.fps
        return self._pace.wait(due - now)


def yuv420p(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planes Y, U, V of a BGR picture, uint8 (h, w, 3): BT.601, limited range. Odd sizes repeat the last row or column."""
    import cv2

    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    rows, columns = picture.shape[:2]
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    luma, chroma = rows * columns, rows * columns // 4
    y = planes[:luma].reshape(rows, columns)[:height, :width]
    u = planes[luma : luma + chroma].reshape(rows // 2, columns // 2)
    return y, u, planes[luma + chroma :].reshape(rows // 2, columns // 2)


def parse(uri: str, options: Mapping[str, Any], secret: str | None) -> Settings:
    """The settings of an address and of the Device manifest. Raises SourceError."""
    scene, _, query = uri.removeprefix("synthetic:").partition("?")
    if scene not in SCENES:
        raise SourceError(f"{uri}: expected a scene ({', '.join(sorted(SCENES))}), got {scene!r}{_nearest(scene, SCENES)}")
    if secret is not None:
        raise SourceError(f"{uri}: expected no secret, got one; a synthetic camera asks for none, so remove `secret` from the stream")
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=16)
    except ValueError:
        raise SourceError(f"{uri}: expected settings as name=value joined by &, got {query!r}") from None
    texts: dict[str, str] = {}
    for name, text in given:
        if name not in SETTINGS:
            raise SourceError(f"{uri}: expected a setting ({', '.join(SETTINGS)}), got {name!r}{_nearest(name, SETTINGS)}")
        if name in texts:
            raise SourceError(f"{uri}: expected each setting once, got {name!r} twice")
        texts[name] = text
    for name in ("size", "fps"):
        asked = options.get(name)
        if asked is not None and name in texts:
            raise SourceError(f"{uri}: expected {name} in one place, got it here and in the stream's `{name}`; remove one")
        if asked is not None:
            texts[name] = "x".join(str(side) for side in asked) if name == "size" else str(asked)
    width, height = _size(uri, texts.get("size", "640x360"))
    frames = _whole(uri, "frames", texts["frames"], 1) if "frames" in texts else None
    rate = texts.get("rate", "live")
    if rate not in ("live", "max"):
        raise SourceError(f"{uri}: expected rate live or max, got {rate!r}{_nearest(rate, ('live', 'max'))}")
    seed = _whole(uri, "seed", texts.get("seed", "0"), 0)
    return Settings(scene, seed, width, height, _fps(uri, texts.get("fps", "30")), frames, rate == "live")


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _whole(uri: str, name: str, text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise SourceError(f"{uri}: expected {name} as a whole number of at least {least}, got {text!r}")
    return int(text)


def _size(uri: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None or not all(SMALLEST <= int(side) <= LARGEST for side in match.groups()):
        raise SourceError(f"{uri}: expected size as WIDTHxHEIGHT with sides of {SMALLEST} to {LARGEST} pixels, got {text!r}")
    return int(match[1]), int(match[2])


def _fps(uri: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text) or not 0.01 <= float(text) <= 1000:
        raise SourceError(f"{uri}: expected fps from 0.01 to 1000, got {text!r}")
    return float(text)
