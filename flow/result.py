"""A result: what a business says of one frame, as a Python object and as the row every sink writes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from json import encoder
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, TensorsSpec
from flow.plan.value import Sink
from ops.value import Frame, Image, Many

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_make = getattr(encoder, "c_make_encoder", None)
_parts = _make(None, _encoder.default, encoder.encode_basestring, None, ":", ",", False, False, False) if _make else None
"""What `_encoder.encode` makes anew for every row; None in an interpreter that does without."""


def _encode(row: dict[str, Any]) -> str:
    return _encoder.encode(row) if _parts is None else "".join(_parts(row, 0))


NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})
_new = tuple.__new__


class Result(NamedTuple):
    """One frame of one output. `payload` holds the row's own key: detections, classes, landmarks, event, points or mask."""

    business: str
    version: str
    output: str
    stream: str
    seq: int
    pts_ns: int
    time: str | None
    plan: str
    latency_ms: float
    payload: dict[str, Any]
    inputs: tuple[dict[str, Any], ...] = ()
    reset: bool = False
    extra: Mapping[str, Any] = NOTHING_MORE

    def __getattr__(self, name: str) -> Any:
        if name in self.payload:
            return self.payload[name]
        raise AttributeError(f"this result has {', '.join(self.payload) or 'no payload'}, not {name}")

    def row(self) -> dict[str, Any]:
        """The row as a dict, keys in the order that sinks write them; `inputs` and `reset` only where they say something."""
        row: dict[str, Any] = {
            "business": self.business,
            "version": self.version,
            "output": self.output,
            "stream": self.stream,
            "seq": self.seq,
            "pts_ns": self.pts_ns,
            "time": self.time,
            "plan": self.plan,
            "latency_ms": self.latency_ms,
            **self.payload,
        }
        if self.inputs:
            row["inputs"] = list(self.inputs)
        if self.reset:
            row["reset"] = True
        return {**row, **self.extra} if self.extra else row

    def line(self) -> bytes:
        """The row as one line of JSON (RFC 8259, UTF-8), newline included. Raises ValueError for a number that JSON cannot say."""
        return (_encode(self.row()) + "\n").encode("utf-8", "backslashreplace")


def make_result(
    sink: Sink,
    frame: Frame,
    value: Any,
    *,
    plan: str,
    latency_ms: float,
    reset: bool = False,
    inputs: tuple[Frame, ...] = (),
) -> Result:
    """The result of one frame: `value` is what the output's node gave (None: nothing), `inputs` the frames of a join, anchor first.

    Pixels are rounded to a tenth, scores to four digits; a number that is not finite becomes null.
    """
    spec = sink.spec
    return _new(
        Result,
        (
            sink.business,
            sink.version,
            sink.output,
            frame.stream,
            frame.seq,
            frame.pts_ns,
            None if frame.time_ns is None else utc(frame.time_ns),
            plan,
            int(latency_ms * 10 + 0.5) / 10,  # quicker than `round`
            {spec.record: []} if type(spec) is RecordsSpec and (value is None or not len(value)) else payload(spec, value),
            tuple([{"stream": other.stream, "seq": other.seq, "pts_ns": other.pts_ns} for other in inputs]) if inputs else (),
            reset,
            NOTHING_MORE,
        ),
    )


def payload(spec: Spec, value: Any) -> dict[str, Any]:
    """The row's own key and what stands under it: a list of records (empty without value), or the size of a mask.

    Items of a list are put into one, each with `parent`, the index of the item it came from. Raises TypeError for tensors.
    """
    match spec:
        case RecordsSpec():
            return {spec.record: [] if value is None else _records(spec, value)}
        case ManySpec():
            return _many(spec.item, value)
        case ImageSpec():
            return {"mask": _mask(value)}
        case TensorsSpec():
            raise TypeError(f"expected records or an image as output, got {spec}; decode the tensors first")


def utc(time_ns: int) -> str:
    """UTC time as ISO 8601 with microseconds, as in 2026-01-31T12:00:00.000000Z."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


def _many(item: ImageSpec | TensorsSpec | RecordsSpec, value: Many | None) -> dict[str, Any]:
    parts = [] if value is None else [(parent, payload(item, one)) for one, parent in zip(value.items, value.parents, strict=True)]
    key = next(iter(payload(item, None)))
    flat: list[dict[str, Any]] = []
    for parent, part in parts:
        records = part[key] if isinstance(part[key], list) else [part[key]]
        flat.extend({**record, "parent": parent} for record in records)
    return {key: flat}


def _mask(value: Image | None) -> dict[str, Any] | None:
    return None if value is None else {"width": value.spec.upright[0], "height": value.spec.upright[1]}


def _records(spec: RecordsSpec, value: np.ndarray) -> list[dict[str, Any]]:
    if not len(value):
        return []
    match spec.record:
        case "detections":
            rows = [
                {"box": box, "score": score, "label": _label(spec, class_id), "class_id": class_id}
                for box, score, class_id in zip(
                    _numbers(value["box"], 1), _numbers(value["score"], 4), value["class_id"].tolist(), strict=True
                )
            ]
            _tracks(rows, value)
            if spec.points:
                for row, points in zip(rows, _numbers(value["points"], 1), strict=True):
                    row["points"] = points
            return rows
        case "classes":
            return [
                {"label": _label(spec, class_id), "score": score}
                for class_id, score in zip(value["class_id"].tolist(), _numbers(value["score"], 4), strict=True)
            ]
        case "landmarks":
            return [
                {"points": points, "score": score, "handedness": _hand(right)}
                for points, score, right in zip(
                    _numbers(value["points"], 1), _numbers(value["score"], 4), value["handedness"].tolist(), strict=True
                )
            ]
        case "event":
            rows = [
                {"event": _label(spec, name), "value": number, "point": point}
                for name, number, point in zip(
                    value["name"].tolist(), _numbers(value["value"], 4), _numbers(value["point"], 1), strict=True
                )
            ]
            _tracks(rows, value)
            return rows
        case "points":
            return [
                {"point": point, "score": score}
                for point, score in zip(_numbers(value["point"], 1), _numbers(value["score"], 4), strict=True)
            ]


def _label(spec: RecordsSpec, index: int) -> str:
    return spec.labels[index] if 0 <= index < len(spec.labels) else str(index)


def _hand(right: float) -> str | None:
    """`handedness` is the probability of a right hand; negative or not a number: unknown."""
    return ("right" if right >= 0.5 else "left") if right >= 0 else None


def _tracks(rows: list[dict[str, Any]], value: np.ndarray) -> None:
    for row, track in zip(rows, value["track"].tolist(), strict=True):
        if track >= 0:
            row["track"] = track


def _numbers(values: np.ndarray, digits: int) -> list[Any]:
    """Rounded Python floats, nested as the array is. Rounding is done in float64: 214.1 in float32 prints as 214.10000610351562."""
    rounded = np.round(values.astype(np.float64), digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    if not np.isfinite(rounded).all():
        rounded = rounded.astype(object)
        rounded[~np.isfinite(values)] = None
    plain: list[Any] = rounded.tolist()
    return plain
