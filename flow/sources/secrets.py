"""Secrets of sources: where they come from, and how they are kept out of everything that is shown."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from flow.sources.contract import SourceError

MAX_BYTES = 4096


def read_secret(name: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret `name`: the environment variable of that name, or the content of the file that `NAME_FILE` points to.

    The file must be a regular file of the user who runs this, readable by nobody else (mode 0600 or less). Raises SourceError; the value
    is never part of the message.
    """
    environ = os.environ if environ is None else environ
    if value := environ.get(name):
        return _checked(value, f"the environment variable {name}")
    path = environ.get(f"{name}_FILE")
    if not path:
        raise SourceError(f"secret {name}: expected it in the environment ({name}=user:password, or {name}_FILE=PATH), got neither")
    return _checked(_read_private(name, Path(path)), f"the file of {name}_FILE")


def refuse_password(uri: str) -> None:
    """Raises SourceError for a URL that carries a password: it would end in plans, logs and reports."""
    user, at, _ = uri.partition("://")[2].partition("/")[0].rpartition("@")
    if at and ":" in user:
        bare = uri.replace(f"{user}@", "", 1)
        raise SourceError(
            f"{scrub(bare)}: expected a URL without a password, got one with; name a `secret:` for the stream and put user:password there"
        )


def with_secret(uri: str, secret: str | None) -> str:
    """The URL with `user:password` in it, percent-encoded: for the library that opens it, never for a message. Raises SourceError."""
    refuse_password(uri)
    if not secret:
        return uri
    parts = urlsplit(uri)
    user, _, password = secret.partition(":")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"))


def scrub(text: str, secret: str | None = None) -> str:
    """The text with the secret, its parts and its encoded forms replaced, and the user part of any URL cut out."""
    if secret:
        user, _, password = secret.partition(":")
        forms = {secret, password, quote(secret, safe=""), quote(password, safe=""), f"{quote(user, safe='')}:{quote(password, safe='')}"}
        for form in sorted(forms | {unquote(form) for form in forms}, key=len, reverse=True):
            if form:
                text = text.replace(form, "***")
    return re.sub(r"(?<=://)[^/\s@]*@", "", text)


def _checked(value: str, where: str) -> str:
    value = value.strip("\r\n")
    user, colon, password = value.partition(":")
    if not (user and colon and password) or any(ord(letter) < 32 for letter in value) or len(value) > MAX_BYTES:
        raise SourceError(f"{where}: expected user:password in one line of at most {MAX_BYTES} characters, got something else (not shown)")
    return value


def _read_private(name: str, path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(f"secret {name}: cannot read {path}, the file of {name}_FILE: {error.strerror}") from None
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise SourceError(f"secret {name}: expected a regular file, got {path}, which is none")
        if state.st_uid != os.geteuid():
            raise SourceError(f"secret {name}: expected a file of our own user, got {path} of user {state.st_uid} (chown it)")
        if stat.S_IMODE(state.st_mode) & 0o077:
            raise SourceError(
                f"secret {name}: expected a file that nobody else can read, got {path} with mode {stat.S_IMODE(state.st_mode):04o}"
                f" (chmod 600 {path})"
            )
        return os.read(handle, MAX_BYTES + 1).decode()
    except UnicodeDecodeError:
        raise SourceError(f"secret {name}: expected text, got something else in {path}") from None
    finally:
        os.close(handle)
