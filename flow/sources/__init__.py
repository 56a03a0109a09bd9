"""Where frames come from: finds the source that a URI names, looks at it, opens it."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import pkgutil
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from flow.sources.contract import Picture, Probe, Reader, Source, SourceAwayError, SourceError

__all__ = ["Picture", "Probe", "Reader", "Source", "SourceAwayError", "SourceError", "find", "open_reader", "probe", "schemes"]

GROUP = "ace.sources"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):")


def find(uri: str) -> type[Source]:
    """The source that reads this URI: a bare path or `file:` (a video, a picture, a folder or glob of pictures), or `SCHEME:…`.

    A module of this package named like the scheme, else an entry point of that name in the group `ace.sources`. Raises SourceError
    for a scheme that nothing reads, naming the nearest that something does.
    """
    scheme = _scheme(uri)
    if scheme is None or scheme == "file":
        from flow.sources.images import is_images

        scheme = "images" if is_images(path_of(uri)) else "file"
    if _built_in(scheme):
        built_in: type[Source] = _source(importlib.import_module(f"flow.sources.{scheme}"), scheme)
        return built_in
    for entry in entry_points(group=GROUP, name=scheme):
        found: type[Source] = entry.load()
        return found
    known = schemes()
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f"did you mean {near[0]}:?" if near else "a file of that name would be found if it existed"
    raise SourceError(f"{scheme}: expected one of {', '.join(f'{name}:' for name in known)} or a path, got {scheme}: ({hint})")


def schemes() -> list[str]:
    """Every scheme that can be read here, those of third parties included."""
    names = {module.name for module in pkgutil.iter_modules(__path__) if _built_in(module.name)}
    return sorted(names - {"images"} | {entry.name for entry in entry_points(group=GROUP)})


def probe(uri: str, options: Mapping[str, Any] | None = None, secret: str | None = None) -> Probe:
    """Looks at a source without keeping it open, in bounded time.

    `options`: `size` (width, height) and `fps` for cameras and for live sources that are away; `threads` for the decoder (default 1).
    `secret`: `user:password`. Raises SourceError; SourceAwayError when a live source does not answer and the options do not say enough.
    """
    return find(uri).probe(uri, options or {}, secret)


def open_reader(uri: str, options: Mapping[str, Any] | None = None, secret: str | None = None) -> Reader:
    """Opens a source for reading; options and secret as for `probe`. Raises SourceError."""
    return find(uri).open(uri, options or {}, secret)


def path_of(uri: str) -> Path:
    """The path that a bare path, `file:PATH` or `file:///PATH` (percent-encoded, as RFC 8089 has it) names."""
    if uri.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise SourceError(f"{uri}: expected a file of this machine (file:///PATH or a bare path), got the host {parts.netloc}")
        return Path(unquote(parts.path))
    return Path(uri.removeprefix("file:"))


def exists(path: str | Path) -> bool:
    """Whether something is there; False for what can be no path, and for what we may not see."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises for those)


def _scheme(uri: str) -> str | None:
    match = _SCHEME.match(uri)
    if match is None or (match[1] != "file" and exists(uri)):
        return None
    return {"rtsps": "rtsp"}.get(match[1], match[1])


def _built_in(scheme: str) -> bool:
    """Whether a module of this package holds this source; looked up by name so that no other source is imported."""
    if not scheme.isidentifier() or importlib.util.find_spec(f"flow.sources.{scheme}") is None:
        return False
    return _source(importlib.import_module(f"flow.sources.{scheme}"), scheme) is not None


def _source(module: Any, scheme: str) -> Any:
    return next((value for value in vars(module).values() if isinstance(value, type) and vars(value).get("scheme") == scheme), None)
