"""The last result in a file of JSON lines that is still being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TAIL = 1 << 16


def last_row(path: Path) -> dict[str, Any] | None:
    """The last whole row, or None where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    return json.loads(lines[-2]) if len(lines) > 1 and lines[-2].startswith(b"{") else None


def told(row: dict[str, Any] | None) -> str:
    """A result in few words: `cat #3 0.91, dog 0.80`."""
    if row is None:
        return "-"
    words = [_item(item) for kind in ("detections", "classes", "landmarks", "event", "points") for item in row.get(kind, ())]
    return ", ".join(words[:4]) or "nothing seen"


def _item(item: dict[str, Any]) -> str:
    name = item.get("label") or item.get("event") or ""
    track = f"#{item['track']}" if item.get("track") is not None else ""
    place = "({:.0f}, {:.0f})".format(*item["point"]) if "point" in item else ""
    score = f"{item['score']:.2f}" if "score" in item else ""
    return " ".join(filter(None, [name, track, place, score]))
