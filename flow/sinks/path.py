"""The file behind a file sink: refused beforehand where it cannot be written, replaced only where it is ours."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from flow.sinks.contract import SinkError


def check_path(target: str) -> Path:
    """The path of a file target. Raises SinkError unless its folder is there and the file can be written or made."""
    path = Path(target.removeprefix("file:"))
    try:
        if not path.parent.is_dir():
            raise SinkError(f"{target}: expected a file in a folder that exists, got no folder {path.parent} (mkdir -p {path.parent})")
        state = path.lstat() if os.path.lexists(path) else None
    except (OSError, ValueError) as error:
        raise SinkError(f"{target}: expected the path of a file, got: {error}") from None
    if state is None:
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise SinkError(f"{target}: expected a folder that we may write to, got {path.parent} without permission")
        return path
    if not stat.S_ISREG(state.st_mode):
        raise SinkError(f"{target}: expected a regular file or none, got {_kind(state.st_mode)}; it is not replaced")
    if state.st_uid != os.geteuid():
        raise SinkError(f"{target}: expected a file of our own user or none, got one of user {state.st_uid}; it is not replaced")
    if not os.access(path, os.W_OK):
        raise SinkError(f"{target}: expected a file that we may write, got one without permission (chmod u+w {path})")
    return path


def open_path(target: str) -> int:
    """Opens the file of a target for reading and writing, made if it is not there, locked against a second sink. Raises SinkError."""
    path = check_path(target)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise SinkError(f"{target}: expected a file that can be written, got: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise SinkError(f"{target}: expected a file of its own, got one that another output is writing; give each its own") from None
    return handle


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return name
    return "a device"
