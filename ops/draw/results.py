"""Results drawn into the picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, Specs
from ops.boxes.geometry import Point
from ops.contract import Operator, SpecError, images, port
from ops.draw.canvas import HAND, PALETTE, Canvas, Color, color
from ops.value import Affine, Frame, Image, Many, Records, apply, compose, invert, rotation_transform

FIGURE: Color = (255, 255, 255)
"""The colour of lines and zones."""
Label = tuple[str, float, float, Color]
"""Text, the place of its lower left corner, and the colour of its ground."""
KINDS = ("detections", "classes", "landmarks", "event", "points")


class Results(Operator):
    """The picture with everything that is connected drawn into it, upright.

    Boxes with label, score and track, coloured by track or else by class; the skeleton of each hand; classes in the corner, or beside
    the hand that they belong to; points; events and totals as lines of text; the lines and zones that are given. A label moves aside where
    another one lies.
    """

    op = "draw.results"
    inputs = {
        "image": port("image", formats=("bgr24",)),
        **{kind: port(kind, many=True, optional=True, doc="records, or a list of them") for kind in KINDS},
    }
    outputs = {"image": port("image", doc="bgr24, upright")}

    class Config(Operator.Config):
        """`scores`: write scores beside labels. `labels`: write labels at all. `title`: a line of text in the upper left corner. `lines`:
        drawn with an arrow to the side that `count.line` calls `in`. `zones`: polygons. Both in pixels of the source frame."""

        scores: bool = True
        labels: bool = True
        title: str = ""
        lines: tuple[tuple[Point, Point], ...] = ()
        zones: tuple[Annotated[tuple[Point, ...], Field(min_length=3, max_length=256)], ...] = ()

    def infer(self, specs: Specs) -> dict[str, Spec]:
        self._names: dict[str, tuple[str, ...]] = {}
        for kind in KINDS:
            if kind in specs:
                spec = specs[kind]
                item = spec.item if isinstance(spec, ManySpec) else spec
                if not isinstance(item, RecordsSpec) or item.record != kind:
                    raise SpecError(port=kind, expected=kind, got=str(spec))
                self._names[kind] = item.labels
        return {"image": self._target(images(specs["image"], "image"))}

    def _target(self, spec: ImageSpec) -> ImageSpec:
        if spec.format != "bgr24":
            raise SpecError(port="image", expected="bgr24", got=str(spec))
        return ImageSpec(*spec.upright, "bgr24")

    def run(self, frame: Frame, *, image: Image, **values: Any) -> Image:
        upright = rotation_transform(image.spec)
        drawn = self.context.image("image", self._target(image.spec))
        drawn.transform = compose(image.transform, invert(upright))
        turns = {90: -1, 180: 2, 270: 1}.get(image.spec.rotation, 0)
        drawn.planes[0][:] = np.rot90(image.planes[0], turns) if turns else image.planes[0]
        canvas, place = Canvas(drawn.planes[0]), invert(drawn.transform)

        for line in self.config.lines:
            canvas.line_with_side(apply(place, np.array(line)), FIGURE)
        for zone in self.config.zones:
            canvas.rimmed(apply(place, np.array([*zone, *zone[:1]])), FIGURE)
        lines = [(self.config.title, PALETTE[0])] if self.config.title else []
        labels: list[Label] = []
        for records in _each(values.get("detections")):
            labels += self._detections(canvas, place, records)
        hands = values.get("landmarks")
        for hand in _each(hands):
            self._landmarks(canvas, place, hand)
        for parent, classes in _parents(values.get("classes")):
            text = ", ".join(self._named("classes", record) for record in classes)
            beside = [hand for of, hand in _parents(hands) if parent is not None and of == parent and len(hand)]
            if text and beside:
                points = apply(place, beside[0]["points"][0, :, :2].astype(np.float64))
                labels.append((text, points[:, 0].min(), points[:, 1].min() - 2 * canvas.line, color(int(classes["class_id"][0]))))
            elif text:
                lines += [(self._named("classes", record), color(int(record["class_id"]))) for record in classes]
        for records in _each(values.get("points")):
            for record in records:
                canvas.dot(apply(place, record["point"].astype(np.float64)), PALETTE[2], 2.5 * canvas.line)
        for records in _each(values.get("event")):
            lines += [self._event(canvas, place, record) for record in records]
        step = canvas.label_height() + 2
        for index, (text, ground) in enumerate(lines):
            canvas.label(text, 4, 4 + index * step, ground, below=True)
        for label in labels:
            canvas.label(*label)
        return drawn

    def _detections(self, canvas: Canvas, place: Affine, records: Records) -> list[Label]:
        """Draws boxes and gives their labels, those of the surest first: they keep their places."""
        labels: list[Label] = []
        for record in records[np.argsort(records["score"], kind="stable")]:  # the surest on top
            x1, y1, x2, y2 = record["box"].astype(np.float64)
            corners = apply(place, np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]))
            low, high = corners.min(0), corners.max(0)
            track = int(record["track"])
            ink = color(track if track >= 0 else int(record["class_id"]))
            canvas.box(np.concatenate([low, high]), ink)
            if "points" in (record.dtype.names or ()):
                for point in apply(place, record["points"].astype(np.float64)):
                    canvas.dot(point, ink, canvas.line + 0.5)
            text = " ".join(filter(None, [self._named("detections", record), f"#{track}" if track >= 0 else ""]))
            if self.config.labels and text:
                labels.insert(0, (text, float(low[0]), float(low[1]), ink))
        return labels

    def _landmarks(self, canvas: Canvas, place: Affine, records: Records) -> None:
        for record in records:
            points = apply(place, record["points"][:, :2].astype(np.float64))
            if len(points) == 1 + max(max(bone) for bones in HAND for bone in bones):
                canvas.hand(points)
            else:
                for point in points:
                    canvas.dot(point, PALETTE[1], canvas.line + 0.5)

    def _event(self, canvas: Canvas, place: Affine, record: Any) -> tuple[str, tuple[int, int, int]]:
        ink = color(int(record["name"]))
        name = self._label("event", int(record["name"]))
        if record["track"] < 0:
            return f"{name} {float(record['value']):g}", ink
        canvas.dot(apply(place, record["point"].astype(np.float64)), ink, 3 * canvas.line)
        return f"{name} #{int(record['track'])}", ink

    def _named(self, kind: str, record: Any) -> str:
        name = self._label(kind, int(record["class_id"]))
        return f"{name} {float(record['score']):.2f}" if self.config.scores else name

    def _label(self, kind: str, index: int) -> str:
        names = self._names.get(kind, ())
        return names[index] if 0 <= index < len(names) else str(index)


def _parents(value: Any) -> Iterator[tuple[int | None, Records]]:
    """The records of a value, its own or those of each item of a list, each with the item's parent."""
    if isinstance(value, Many):
        yield from zip(value.parents, value.items, strict=True)
    elif value is not None:
        yield None, value


def _each(value: Any) -> Iterator[Records]:
    """The records of a value: its own, those of each item of a list, or none."""
    for _, records in _parents(value):
        yield records
