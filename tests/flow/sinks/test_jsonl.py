from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.spec import ImageSpec
from flow.sinks.contract import SinkError
from flow.sinks.jsonl import JsonLines
from ops.value import Image


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_is_in_the_file_when_it_is_written(tmp_path: Path, plan_of, result) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLines(plan_of(path), 25.0)
    assert sink.open(resume=False) == {}
    for seq in range(3):
        sink.write(result(seq), None)
        assert path.read_bytes() == b"".join(result(number).line() for number in range(seq + 1))
    sink.close()
    sink.close()


def test_a_new_run_replaces_the_file(tmp_path: Path, plan_of, result) -> None:
    path = tmp_path / "out.jsonl"
    for _ in range(2):
        sink = JsonLines(plan_of(path), 25.0)
        sink.open(resume=False)
        sink.write(result(0), None)
        sink.close()
    assert len(rows(path)) == 1


def test_resume_cuts_the_incomplete_row_and_tells_the_last(tmp_path: Path, plan_of, result) -> None:
    path = tmp_path / "out.jsonl"
    whole = b"".join(result(seq).line() for seq in range(5))
    path.write_bytes(whole + result(5).line()[:20])
    sink = JsonLines(plan_of(path), 25.0)
    assert sink.open(resume=True) == {"front": 4}
    sink.write(result(5), None)
    sink.close()
    assert [row["seq"] for row in rows(path)] == list(range(6))


def test_resume_tells_the_streams_of_a_join(tmp_path: Path, plan_of, result) -> None:
    path = tmp_path / "out.jsonl"
    inputs = ({"stream": "front", "seq": 7, "pts_ns": 0}, {"stream": "back", "seq": 9, "pts_ns": 0})
    path.write_bytes(result(7, inputs=inputs).line())
    sink = JsonLines(plan_of(path), 25.0)
    assert sink.open(resume=True) == {"front": 7, "back": 9}
    sink.close()


def test_resume_of_nothing_starts_anew(tmp_path: Path, plan_of) -> None:
    sink = JsonLines(plan_of(tmp_path / "out.jsonl"), 25.0)
    assert sink.open(resume=True) == {}
    sink.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.data())
def test_wherever_a_kill_cuts_the_file_rows_are_exactly_once(tmp_path: Path, plan_of, result, data) -> None:
    path = tmp_path / "out.jsonl"
    lines = [result(seq, payload={"detections": ["x" * data.draw(st.integers(0, 200_000))] * (seq == 1)}).line() for seq in range(4)]
    whole = b"".join(lines)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    sink = JsonLines(plan_of(path), 25.0)
    last = sink.open(resume=True).get("front", -1)
    for seq in range(last + 1, 4):
        sink.write(result(seq), None)
    sink.close()
    assert [row["seq"] for row in rows(path)] == [0, 1, 2, 3]


def test_a_kill_loses_no_row_that_was_written(tmp_path: Path) -> None:
    code = f"""
import os, signal
from flow.plan.value import Ref, Sink
from flow.result import Result
from flow.sinks.jsonl import JsonLines
from devices.spec import RecordsSpec
target, spec = {str(tmp_path / "out.jsonl")!r}, RecordsSpec("detections", 1)
sink = JsonLines(Sink(1, "pet", "1", "pets", target, Ref("a", "b"), spec, "front", ()), 25.0)
sink.open(resume=False)
for seq in range(1000):
    sink.write(Result("pet", "1", "pets", "front", seq, seq, None, "p", 1.0, {{"detections": []}}), None)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [row["seq"] for row in rows(tmp_path / "out.jsonl")] == list(range(1000))


def test_a_full_disk_is_an_error_and_leaves_whole_rows(tmp_path: Path, plan_of, result) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLines(plan_of(path), 25.0)
    sink.open(resume=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(SinkError, match=r"expected to write row \d of front"):  # noqa: PT012 (which row is the disk's to say)
            for seq in range(10):
                sink.write(result(seq), None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    sink.close()
    assert path.read_bytes().endswith(b"}\n")
    assert 0 < len(rows(path)) < 10


def test_two_outputs_cannot_share_a_file(tmp_path: Path, plan_of) -> None:
    first, second = (JsonLines(plan_of(tmp_path / "out.jsonl"), 25.0) for _ in range(2))
    first.open(resume=False)
    with pytest.raises(SinkError, match="another output"):
        second.open(resume=False)
    first.close()
    second.open(resume=False)
    second.close()


def test_what_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, says in (
        ("none/out.jsonl", "no folder"),
        ("folder.jsonl", "got a folder"),
        ("link.jsonl", "got a symbolic link"),
        ("pipe.jsonl", "got a pipe"),
    ):
        with pytest.raises(SinkError, match=says):
            JsonLines.check(str(tmp_path / name))
    JsonLines.check(str(tmp_path / "out.jsonl"))
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("theirs")
    os.chown(path, 12345, -1)
    with pytest.raises(SinkError, match="our own user"):
        JsonLines.check(str(path))


def test_pictures_lie_beside_their_rows(tmp_path: Path, plan_of, result) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLines(plan_of(path, ImageSpec(6, 4, "gray8")), 25.0)
    assert sink.wants == "picture"
    sink.open(resume=False)
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    sink.write(result(3, payload={"mask": None}), Image.from_array(pixels, "gray8"))
    sink.close()
    (row,) = rows(path)
    assert row["mask"] == {"file": "out.masks/front-00000003.png", "width": 6, "height": 4}
    assert np.array_equal(cv2.imread(str(tmp_path / row["mask"]["file"]), cv2.IMREAD_UNCHANGED), pixels)


def test_a_picture_that_png_cannot_hold_is_an_error(tmp_path: Path, plan_of, result) -> None:
    spec = ImageSpec(6, 4, "nv12")
    sink = JsonLines(plan_of(tmp_path / "out.jsonl", spec), 25.0)
    sink.open(resume=False)
    with pytest.raises(SinkError, match="convert it"):
        sink.write(result(0), Image(spec, spec.split(np.zeros(spec.nbytes, np.uint8))))
    sink.close()
