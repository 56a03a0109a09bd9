from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from devices.spec import ImageSpec, ManySpec, RecordsSpec
from ops.contract import SpecError
from ops.draw.canvas import PALETTE, color
from ops.draw.results import Results
from ops.testing import HeapContext, frame
from ops.value import Image, Many, rotation_transform

DETECTIONS = RecordsSpec("detections", 8, ("cat", "dog"))
HAND = RecordsSpec("landmarks", 1, (), 21)
CLASSES = RecordsSpec("classes", 5, ("Open", "Close"))
EVENT = RecordsSpec("event", 4, ("in", "out"))
POINTS = RecordsSpec("points", 1)


def record(spec: RecordsSpec, **fields: Any) -> np.ndarray:
    made = np.zeros(1, spec.dtype)
    for name, value in fields.items():
        made[name] = value
    return made


def draw(image: Image, config: dict[str, Any] | None = None, **values: tuple[Any, Any]) -> Image:
    operator = Results(Results.Config(**(config or {})))
    specs = operator.infer({"image": image.spec} | {kind: spec for kind, (spec, _) in values.items()})
    operator.open(HeapContext())
    out = operator.run(frame(0), image=image, **{kind: value for kind, (_, value) in values.items()})
    assert specs == {"image": out.spec}
    return out


def gray(width: int = 200, height: int = 120) -> Image:
    return Image.from_array(np.full((height, width, 3), 128, np.uint8))


def changed(image: Image) -> np.ndarray:
    return np.asarray((image.planes[0] != 128).any(2))


def test_nothing_connected_is_the_picture_itself() -> None:
    image = gray()
    out = draw(image)
    assert out.planes[0].tobytes() == image.planes[0].tobytes()
    assert not np.shares_memory(out.planes[0], image.planes[0])


def test_a_detection_gets_a_box_and_a_label_in_the_colour_of_its_track() -> None:
    image = gray()
    found = record(DETECTIONS, box=(40, 50, 120, 100), score=0.9, class_id=1, track=4)
    out = draw(image, detections=(DETECTIONS, found)).planes[0]
    assert np.abs(out[75, 40].astype(int) - color(4)).max() < 80
    assert changed(draw(image, detections=(DETECTIONS, found)))[35:48, 42:80].any()
    assert not changed(draw(image, {"labels": False}, detections=(DETECTIONS, found)))[:47].any()
    assert (image.planes[0] == 128).all(), "the input is left as it was"


def test_lines_and_zones_are_drawn_in_pixels_of_the_source_frame() -> None:
    image = gray()
    image.transform = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    drawn = changed(draw(image, {"lines": [[(40, 20), (40, 200)]], "zones": [[(200, 40), (360, 40), (360, 200), (200, 200)]]}))
    assert drawn[12:98, 20].all(), "the line"
    assert drawn[20, 102:178].all(), "an edge of the zone"
    assert drawn[22:98, 100].all(), "the edge from the last point to the first"
    assert not drawn[30:90, 110:170].any(), "a zone is not filled"


def test_labels_of_one_place_are_all_to_be_read() -> None:
    found = np.concatenate([record(DETECTIONS, box=(40, 50, 120, 100), score=score, track=track) for track, score in ((1, 0.9), (2, 0.8))])
    pixels = draw(gray(), detections=(DETECTIONS, found)).planes[0].reshape(-1, 3)
    grounds = [(128 + 3 * np.array(color(track))) // 4 for track in (1, 2)]
    one, other = (int((pixels == ground).all(1).sum()) for ground in grounds)
    assert min(one, other) > 0.7 * max(one, other) > 200, "hidden, one would be all but gone"


def test_key_points_of_detections_are_drawn() -> None:
    spec = RecordsSpec("detections", 1, (), 5)
    found = record(spec, box=(10, 10, 110, 110), points=(60, 60), track=-1)
    assert changed(draw(gray(), {"labels": False}, detections=(spec, found)))[60, 60]


def test_coordinates_are_those_of_the_source_frame() -> None:
    image = gray()
    image.transform = np.array([[4.0, 0.0, 100.0], [0.0, 4.0, 0.0]])  # a quarter of the size, from x = 100 on
    found = record(DETECTIONS, box=(100 + 4 * 60, 4 * 60, 100 + 4 * 120, 4 * 100), track=-1)
    assert changed(draw(image, {"labels": False}, detections=(DETECTIONS, found)))[60:100, 60].all()


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_picture_comes_out_upright(rotation: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 200, 3)).astype(np.uint8)
    spec = ImageSpec(200, 120, "bgr24", rotation=rotation)
    out = draw(Image(spec, (pixels,), rotation_transform(spec)))
    assert (out.spec.width, out.spec.height, out.spec.rotation) == (*spec.upright, 0)
    assert out.transform == pytest.approx(np.eye(2, 3))
    for x, y in ((0, 0), (150, 40)):
        u, v = (rotation_transform(spec) @ (x + 0.5, y + 0.5, 1)).astype(int)
        assert out.planes[0][v, u].tolist() == pixels[y, x].tolist()


def test_hands_with_their_gestures() -> None:
    points = np.stack([np.linspace(60, 150, 21), np.linspace(60, 110, 21), np.zeros(21)], 1)
    hands = Many([np.empty(0, HAND.dtype), record(HAND, points=points)], [0, 1])
    classes = Many([record(CLASSES, score=1)], [1])  # of the second palm; behind the first there was no hand
    bare = changed(draw(gray(), landmarks=(ManySpec(HAND, 2), hands)))
    named = changed(draw(gray(), landmarks=(ManySpec(HAND, 2), hands), classes=(ManySpec(CLASSES, 2), classes)))
    assert bare[85, 105]
    assert not bare[:50].any()
    assert named[40:58, 60:100].any()
    assert not named[:, :50].any(), "the label is beside the hand, not in the corner"


def test_points_without_a_skeleton_are_dots() -> None:
    spec = RecordsSpec("landmarks", 1, (), 3)
    out = changed(draw(gray(), landmarks=(spec, record(spec, points=(50, 50, 0)))))
    assert out[50, 50]
    assert out.sum() < 60


def test_classes_and_events_are_lines_in_the_corner() -> None:
    classes = np.concatenate([record(CLASSES, score=0.9), record(CLASSES, score=0.1, class_id=1)])
    totals = record(EVENT, name=1, track=-1, value=7)
    crossing = record(EVENT, name=0, track=3, value=1, point=(150, 100))
    out = changed(draw(gray(), {"title": "pets"}, classes=(CLASSES, classes), event=(EVENT, np.concatenate([totals, crossing]))))
    assert out[:60, :40].any()
    assert out[100, 150]
    assert not out[:60, 120:].any()


def test_a_tip_is_a_dot() -> None:
    out = draw(gray(), points=(POINTS, record(POINTS, point=(77, 66)))).planes[0]
    assert out[66, 77].tolist() == list(PALETTE[2])


def test_wrong_specs_are_refused() -> None:
    with pytest.raises(SpecError, match="port image: expected bgr24"):
        Results().infer({"image": ImageSpec(4, 4, "gray8")})
    with pytest.raises(SpecError, match="port classes: expected classes"):
        Results().infer({"image": ImageSpec(4, 4, "bgr24"), "classes": POINTS})
