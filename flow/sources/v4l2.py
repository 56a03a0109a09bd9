"""A camera of this machine through Video4Linux."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from flow.sources.contract import Probe, SourceAwayError, SourceError
from flow.sources.decoder import Decoder
from flow.sources.live import LiveReader, probe_live

TIMEOUT_S = 5.0
_VIDEO4LINUX_MAJOR = 81


class V4l2Source:
    """`v4l2:/dev/videoN`, asked for `size` and `fps` of the options; the driver chooses the nearest that the camera has."""

    scheme: ClassVar[str] = "v4l2"

    @classmethod
    def probe(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> Probe:
        return probe_live(lambda: cls.open(uri, options, secret), options, "yuyv422")

    @classmethod
    def open(cls, uri: str, options: Mapping[str, Any], secret: str | None) -> LiveReader:
        device = Path(uri.removeprefix("v4l2:").removeprefix("//"))
        check_device(device, uri)
        av_options: dict[str, str] = {}
        if size := options.get("size"):
            av_options["video_size"] = f"{int(size[0])}x{int(size[1])}"
        if fps := options.get("fps"):
            av_options["framerate"] = f"{float(fps):g}"
        return LiveReader(
            lambda: Decoder(
                str(device), uri=uri, expected="a camera that gives pictures", options=options, av_options=av_options, format="v4l2",
                timeout=TIMEOUT_S, live=True,
            ),
            uri=uri,
        )  # fmt: skip


def check_device(device: Path, uri: str) -> None:
    """Raises SourceError unless the path is a camera of Video4Linux that we may use; SourceAwayError when it is not plugged in."""
    if not device.is_absolute():
        raise SourceError(f"{uri}: expected v4l2:/dev/videoN, got {str(device) or 'no device'}")
    try:
        state = device.stat()
    except OSError as error:
        there = sorted(str(path) for path in Path("/dev").glob("video*"))
        raise SourceAwayError(
            f"{uri}: expected a camera, got: {error.strerror} (cameras here: {', '.join(there) or 'none; is it plugged in?'})"
        ) from None
    if not stat.S_ISCHR(state.st_mode) or os.major(state.st_rdev) != _VIDEO4LINUX_MAJOR:
        raise SourceError(f"{uri}: expected a camera device (/dev/videoN), got something else")
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise SourceError(f"{uri}: expected a camera that we may use, got no permission (add this user to the group video)") from None
        raise SourceAwayError(f"{uri}: expected a camera that is free, got: {error.strerror}") from None
