from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.spec import ImageSpec, ManySpec, RecordsSpec, Spec, TensorSpec, TensorsSpec
from flow.plan.value import Ref, Sink
from flow.result import make_result, utc
from ops.value import Frame, Image, Many

LABELS = ("cat", "dog")
FRAME = Frame("front", 12, 400_000_000)


def make(spec: Spec, value: object, frame: Frame = FRAME, **more):
    sink = Sink(1, "pet", "1.0.0", "pets", "-", Ref("a", "b"), spec, "front", ("front",))
    return make_result(sink, frame, value, plan="9f2c", **{"latency_ms": 31.24, **more})


def records(spec: RecordsSpec, **columns: object) -> np.ndarray:
    values = np.zeros(len(next(iter(columns.values()))), spec.dtype)
    for name, column in columns.items():
        values[name] = column
    return values


def test_the_row_is_the_contract_s() -> None:
    spec = RecordsSpec("detections", 10, LABELS)
    value = records(spec, box=[[214.1, 41.3, 562.4, 285.1]], score=[0.91], class_id=[1], track=[3])
    assert make(spec, value).line() == (
        b'{"business":"pet","version":"1.0.0","output":"pets","stream":"front","seq":12,"pts_ns":400000000,"time":null,"plan":"9f2c",'
        b'"latency_ms":31.2,"detections":[{"box":[214.1,41.3,562.4,285.1],"score":0.91,"label":"dog","class_id":1,"track":3}]}\n'
    )


def test_an_empty_frame_has_an_empty_list() -> None:
    for record in ("detections", "classes", "landmarks", "event", "points"):
        spec = RecordsSpec(record, 4, points=2)
        assert make(spec, np.empty(0, spec.dtype)).payload == {record: []}
        assert make(spec, None).payload == {record: []}


def test_detections_without_track_and_with_points() -> None:
    spec = RecordsSpec("detections", 10, LABELS, points=2)
    value = records(spec, box=[[0, 1, 2, -0.01]], score=[0.123456], class_id=[5], track=[-1], points=[[[1.26, 2], [3, 4]]])
    assert make(spec, value).detections == [
        {"box": [0.0, 1.0, 2.0, 0.0], "score": 0.1235, "label": "5", "class_id": 5, "points": [[1.3, 2.0], [3.0, 4.0]]}
    ]


def test_other_records() -> None:
    classes = RecordsSpec("classes", 2, LABELS)
    assert make(classes, records(classes, score=[0.7, 0.3], class_id=[0, 1])).classes == [
        {"label": "cat", "score": 0.7},
        {"label": "dog", "score": 0.3},
    ]
    landmarks = RecordsSpec("landmarks", 3, points=1)
    value = records(landmarks, points=[[[1, 2, 3]]] * 3, score=[0.5] * 3, handedness=[0.9, 0.1, -1])
    assert [hand["handedness"] for hand in make(landmarks, value).landmarks] == ["right", "left", None]
    assert make(landmarks, value).landmarks[0]["points"] == [[1.0, 2.0, 3.0]]
    event = RecordsSpec("event", 2, ("enter", "leave"))
    value = records(event, name=[1, 0], track=[4, -1], value=[2.5, 1], point=[[1, 2], [3, 4]])
    assert make(event, value).event == [
        {"event": "leave", "value": 2.5, "point": [1.0, 2.0], "track": 4},
        {"event": "enter", "value": 1.0, "point": [3.0, 4.0]},
    ]
    points = RecordsSpec("points", 2)
    assert make(points, records(points, point=[[1.57, 2]], score=[1])).points == [{"point": [1.6, 2.0], "score": 1.0}]


def test_lists_are_flattened_with_their_parents() -> None:
    item = RecordsSpec("classes", 2, LABELS)
    value = Many([records(item, score=[0.7, 0.3], class_id=[0, 1]), records(item, score=[0.9], class_id=[1])], [0, 4])
    assert make(ManySpec(item, 5), value).classes == [
        {"label": "cat", "score": 0.7, "parent": 0},
        {"label": "dog", "score": 0.3, "parent": 0},
        {"label": "dog", "score": 0.9, "parent": 4},
    ]
    assert make(ManySpec(item, 5), None).payload == make(ManySpec(item, 5), Many([], [])).payload == {"classes": []}


def test_an_image_is_told_by_its_size_and_tensors_are_no_output() -> None:
    spec = ImageSpec(64, 48, "gray8", rotation=90)
    assert make(spec, Image(spec, (np.zeros((48, 64), np.uint8),))).mask == {"width": 48, "height": 64}
    with pytest.raises(TypeError, match="decode the tensors"):
        make(TensorsSpec((("x", TensorSpec("float32", (1,))),)), None)


def test_a_join_lists_its_inputs_and_a_reset_is_told() -> None:
    spec = RecordsSpec("points", 1)
    plain, joined = make(spec, None).row(), make(spec, None, inputs=(FRAME, Frame("back", 9, 5)), reset=True).row()
    assert "inputs" not in plain
    assert "reset" not in plain
    assert joined["inputs"] == [{"stream": "front", "seq": 12, "pts_ns": 400_000_000}, {"stream": "back", "seq": 9, "pts_ns": 5}]
    assert joined["reset"] is True


def test_numbers_that_json_cannot_say_become_null() -> None:
    spec = RecordsSpec("detections", 3, LABELS)
    value = records(spec, box=[[np.nan, 1, np.inf, -np.inf]], score=[np.nan])
    row = json.loads(make(spec, value).line(), parse_constant=pytest.fail)
    assert row["detections"][0]["box"] == [None, 1.0, None, None]
    assert row["detections"][0]["score"] is None


def test_text_of_any_kind_makes_one_line() -> None:
    spec = RecordsSpec("classes", 1, ("línea\n\u2028\ud800",))
    line = make(spec, records(spec, score=[1], class_id=[0])).line()
    assert line.count(b"\n") == 1
    assert json.loads(line)["classes"][0]["label"] == spec.labels[0]


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_time_is_utc_to_the_microsecond(time_ns: int) -> None:
    got = datetime.fromisoformat(utc(time_ns))
    assert got.tzinfo == UTC
    assert round(got.timestamp() * 1e6) == time_ns // 1000
    assert make(RecordsSpec("points", 1), None, Frame("front", 0, 0, time_ns=time_ns)).time == utc(time_ns)


def test_an_attribute_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="has points, not detections"):
        _ = make(RecordsSpec("points", 1), None).detections


def test_ten_detections(benchmark) -> None:
    spec = RecordsSpec("detections", 10, LABELS)
    value = records(spec, box=np.random.default_rng(0).random((10, 4)) * 640, score=[0.9] * 10, class_id=[1] * 10, track=range(10))
    benchmark(lambda: make(spec, value).line())
