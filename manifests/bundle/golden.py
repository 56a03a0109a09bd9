"""A golden clip: losslessly stored frames and the results that a business with certain models gives for them.

A folder (or the files of an item) of `clip.json` and, in a folder for each input, pictures in the order of their names. The business is
replayed on them as on any folder of images; its rows must be the expected ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from manifests.bundle.canonical import BundleError, encode
from manifests.bundle.items import FilePath, plain, read_as
from manifests.schema.common import Name, Strict

CLIP = "clip.json"
MAX_CLIP = 8 << 20
FEWEST, MOST = 8, 32

HEADER = frozenset({"business", "version", "output", "stream", "pts_ns", "time", "plan", "latency_ms", "inputs", "reset"})
"""What a row says besides its frame's number and the result itself."""
SCORES = frozenset({"score", "value"})
IDENTITIES = frozenset({"track", "parent", "class_id"})
"""Numbers that name something: equal or not."""
LOOSE = frozenset({"track", "parent"})
"""Identities that may differ between engines that are not bit-equal: they count what came before."""


class Tolerance(Strict):
    """How far results of an engine that is not bit-exact may differ: pixels, scores, and the share of items that must be found again."""

    pixels: Annotated[float, Field(ge=0, le=64)] = 2.0
    scores: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    agreement: Annotated[float, Field(ge=0.5, le=1)] = 0.9


class Clip(Strict):
    """`clip.json`. `exact`: recorded with integer engines only, so another such engine must give the same bits.

    `frames` are the pictures of each input, `results` the rows of each output (`seq` and the result itself), one a frame.
    """

    format: Literal["ace.golden/v1"] = "ace.golden/v1"
    frames: Annotated[dict[Name, Annotated[tuple[FilePath, ...], Field(min_length=FEWEST, max_length=MOST)]], Field(min_length=1)]
    results: Annotated[dict[Name, Annotated[tuple[dict[str, Any], ...], Field(max_length=MOST)]], Field(min_length=1, max_length=64)]
    exact: bool = False
    tolerance: Tolerance = Tolerance()

    @model_validator(mode="after")
    def says_something(self) -> Clip:
        """A clip in which nothing is found would let every model pass."""
        if not any(items(row) for rows in self.results.values() for row in rows):
            raise ValueError("expected results with something found in them, got none; record a clip in which the business sees something")
        return self

    def encoded(self) -> bytes:
        """The canonical document."""
        return encode(plain(self) | {"format": self.format})


def read_clip(folder: Path) -> Clip:
    """The clip in a folder. Raises BundleError and OSError."""
    path = folder / CLIP
    with path.open("rb") as stream:
        return read_as(Clip, stream.read(MAX_CLIP + 1), what=str(path), limit=MAX_CLIP)


def result_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row a clip keeps."""
    return {key: value for key, value in row.items() if key not in HEADER}


def items(row: Mapping[str, Any]) -> list[Any]:
    """The things that a row says it found."""
    found: list[Any] = []
    for key, value in row.items():
        if key != "seq" and value is not None:
            found += value if isinstance(value, list) else [value]
    return found


def compare(clip: Clip, got: Mapping[str, Sequence[Mapping[str, Any]]], *, exact: bool) -> tuple[str, ...]:
    """What differs between the expected rows and those of a replay, by output; empty where the replay passes.

    `exact`: the replay used integer engines only. Then, for a clip recorded so, rows must be equal. Otherwise each expected item must be
    found again within the clip's tolerance: its label equal, coordinates and scores near; and nothing else may be found, up to the share
    of items that `tolerance.agreement` leaves. `got` rows may be whole rows or what `result_of` gives.
    """
    problems = []
    for output, expected in clip.results.items():
        rows = [result_of(row) for row in got.get(output, ())]
        numbers, came = [row["seq"] for row in expected], [row.get("seq") for row in rows]
        if numbers != came:
            problems.append(f"{output}: expected results of the frames {few(numbers)}, got those of {few(came)}")
        elif exact and clip.exact:
            different = [row["seq"] for row, other in zip(expected, rows, strict=True) if encode(row) != encode(other)]
            if different:
                problems.append(
                    f"{output}: expected equal results, got different ones for {len(different)} of {len(rows)} frames: {few(different)}"
                )
        else:
            same, total = agreement(expected, rows, clip.tolerance)
            if same < clip.tolerance.agreement * total:
                bounds = f"within {clip.tolerance.pixels:g} pixels and {clip.tolerance.scores:g} of score"
                wanted = f"{clip.tolerance.agreement:.0%} of items {bounds}"
                problems.append(f"{output}: expected {wanted}, got {same} of {total}")
    return tuple(problems)


def agreement(expected: Sequence[Mapping[str, Any]], got: Sequence[Mapping[str, Any]], tolerance: Tolerance) -> tuple[int, int]:
    """How many items are in both, and how many there are in either."""
    same = total = 0
    for row, other in zip(expected, got, strict=True):
        left = list(items(other))
        wanted = items(row)
        found = 0
        for item in wanted:
            place = next((index for index, each in enumerate(left) if near(item, each, "", tolerance)), None)
            if place is not None:
                left.pop(place)
                found += 1
        same += found
        total += len(wanted) + len(left)
    return same, total


def near(one: Any, other: Any, key: str, tolerance: Tolerance) -> bool:
    """Whether two values under this key are the same within the tolerance."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = set(one) - LOOSE
        return keys == set(other) - LOOSE and all(near(one[each], other[each], each, tolerance) for each in keys)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(near(a, b, key, tolerance) for a, b in zip(one, other, strict=True))
    if is_number(one) and is_number(other) and key not in IDENTITIES:
        return bool(abs(one - other) <= (tolerance.scores if key in SCORES else tolerance.pixels))
    return bool(one == other)


def is_number(value: Any) -> bool:
    """A number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def few(numbers: Sequence[Any]) -> str:
    """The first ones, and how many more there are."""
    return ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "") if numbers else "none"


def check_files(clip: Clip, paths: Sequence[str]) -> None:
    """Raises BundleError unless the files of an item are exactly the clip and its pictures, those of an input in one folder, in order."""
    wanted = {CLIP, *(path for frames in clip.frames.values() for path in frames)}
    if wanted != set(paths):
        raise BundleError(f"a golden clip: expected {CLIP} and its pictures, got {few(sorted(wanted ^ set(paths)))} more or less")
    for name, frames in clip.frames.items():
        if len({path.rpartition("/")[0] for path in frames}) > 1 or list(frames) != sorted(frames):
            raise BundleError(f"a golden clip: expected the pictures of {name} in one folder, in order, got {few(frames)}")
