from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CAMERA = "camera=synthetic:pen?rate=max&size=160x120&frames=6"
ENDLESS = "camera=synthetic:pen?rate=max&size=160x120"

Ace = Callable[..., "subprocess.CompletedProcess[str]"]
Started = Callable[..., "subprocess.Popen[str]"]


def test_results_go_to_standard_output_and_the_summary_to_standard_error(ace: Ace) -> None:
    done = ace("run", "motion.yaml", "--bind", CAMERA)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["seq"] for row in rows] == list(range(6))
    assert {(row["business"], row["output"]) for row in rows} == {("motion", "tracks")}
    assert "camera: 6 frames read, none dropped" in done.stderr
    assert "motion.tracks: 6 results" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_outputs_go_where_out_says(ace: Ace, tmp_path: Path) -> None:
    done = ace("run", "motion.yaml", "--bind", CAMERA, "--out", "tracks=a.jsonl", "--out", "motion.tracks=b.mp4")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 6
    assert (tmp_path / "b.mp4").stat().st_size > 500


def test_the_report_says_what_was_counted(ace: Ace, tmp_path: Path) -> None:
    done = ace("run", "motion.yaml", "--bind", CAMERA, "--out", "tracks=a.jsonl", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["streams"]["camera"]["in"] == report["streams"]["camera"]["out"] == 6
    assert report["streams"]["camera"]["dropped"] == {}
    by_name = {name: node for node in report["nodes"].values() for name in node["names"]}
    assert by_name["motion.tracks"]["runs"] == by_name["motion.tracks"]["calls"] == 6
    assert by_name["motion.tracks"]["op"] == "track.iou"
    assert by_name["motion.tracks"]["businesses"] == ["motion"]
    assert report["outputs"]["motion"]["tracks"]["results"] == 6
    assert report["outputs"]["motion"]["tracks"]["latency_ms"].keys() == {"p50", "p99", "max"}
    assert report["workers"]
    assert report["workers"][0].keys() >= {"pid", "device", "restarts"}
    assert report.keys() >= {"state_resets", "poison", "shared_memory_bytes", "cpu_seconds", "wall_seconds", "plan"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "motion.yaml", "report.json"]


def test_an_output_whose_operator_fails_on_every_frame_is_a_failed_run(ace: Ace, tmp_path: Path, operators: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "apiVersion: ace/v1\nkind: Business\nname: bad\nversion: 1.0.0\ninputs: {camera: image}\n"
        "graph:\n  level: {op: test.level, in: {image: camera}}\n"
        "  first: {op: test.trouble, in: {points: level}, config: {at: 0, how: raise, once: false}}\n"
        "outputs: {first: first, level: level}\n"
    )
    done = ace("run", "bad.yaml", "motion.yaml", "--bind", CAMERA, "--frames", "1", "--report", "report.json")
    assert done.returncode == 1
    assert "bad.first: expected results, got none: bad.first failed on every frame" in done.stderr
    assert "bad.first: 1 error" in done.stderr
    assert "motion.tracks: 1 result" in done.stderr, "another business is none the worse"
    assert json.loads((tmp_path / "report.json").read_text())["outputs"]["bad"]["level"]["results"] == 1

    done = ace("run", "bad.yaml", "--bind", CAMERA)
    assert done.returncode == 0, "a frame that fails is counted, and the work goes on"
    assert "bad.first: 1 error" in done.stderr


def test_frames_ends_an_endless_stream(ace: Ace) -> None:
    done = ace("run", "motion.yaml", "--bind", ENDLESS, "--frames", "4")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["motion.yaml"], "--bind camera=SOURCE"),
        (["motion.yaml", "--bind", "camer=clip.mp4"], "did you mean `camera`"),
        (["motion.yaml", "--bind", "camera"], "expected INPUT=SOURCE"),
        (["motion.yaml", "--bind", "camera=missing.mp4"], "missing.mp4"),
        (["motion.yaml", "--bind", CAMERA, "--out", "track=a.jsonl"], "did you mean `tracks`"),
        (["motion.yaml", "--bind", CAMERA, "--out", "tracks=a.jsonll"], "did you mean .jsonl"),
        (["motion.yaml", "--bind", CAMERA, "--report", "nowhere/report.json"], "the folder nowhere does not exist"),
        (["motion.yaml", "--bind", CAMERA, "--report", "motion.yaml"], "got motion.yaml, one of the manifests"),
        (["motion.yaml", "--bind", CAMERA, "--out", "tracks=a.jsonl", "--report", "./a.jsonl"], "where motion.tracks is written to"),
        (["motion.yaml", "--bind", "camera=0"], "a camera is `v4l2:/dev/video0`"),
        (["motion.yaml", "--bind", "camera=/dev/video2"], "a camera is `v4l2:/dev/video2`"),
        (["motion.yaml", "--bind", CAMERA, "--workers", "thread"], "did you mean 'threads'"),
        (["motion.yaml", "--bind", CAMERA, "--link", "zqm"], "did you mean 'zmq'"),
        (["motion.yaml", "--bind", CAMERA, "--frames", "0"], "'--frames'"),
        (["absent.yaml"], "absent.yaml"),
    ],
)
def test_wrong_input_is_a_message_and_status_2(ace: Ace, arguments: list[str], said: str) -> None:
    done = ace("run", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("tell", "number", "status"), [(os.killpg, signal.SIGINT, 130), (os.kill, signal.SIGTERM, 0)], ids=["Ctrl-C", "terminate"]
)
def test_a_signal_lets_frames_in_flight_come_out(
    ace: Ace, started: Started, tmp_path: Path, tell: Callable[[int, int], None], number: int, status: int
) -> None:
    process = started("run", "motion.yaml", "--bind", ENDLESS, "--report", "report.json")
    assert process.stdout is not None
    with process.stdout as stdout:
        first = stdout.readline()
        tell(process.pid, number)
        rows = first + stdout.read()
    assert process.wait(60) == status, (tmp_path / "errors.txt").read_text()
    seqs = [json.loads(line)["seq"] for line in rows.splitlines()]
    assert seqs == list(range(len(seqs)))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["streams"]["camera"]["in"] == report["streams"]["camera"]["out"] == len(seqs)


def test_a_second_interrupt_stops_at_once(ace: Ace, started: Started, tmp_path: Path) -> None:
    process = started("run", "motion.yaml", "--bind", ENDLESS)
    assert process.stdout is not None
    with process.stdout as stdout:
        stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        stdout.read()
    assert process.wait(60) == 130


DEADLY = """\
apiVersion: ace/v1
kind: Business
name: deadly
version: 1.0.0
inputs: {camera: image}
graph:
  level: {op: test.level, in: {image: camera}}
  sour: {op: test.trouble, in: {points: level}, config: {at: 1, how: raise, once: false}}
  fatal: {op: test.trouble, in: {points: sour}, config: {at: 5, how: exit, marks: mark}}
outputs: {points: fatal}
"""


@pytest.mark.usefixtures("operators")
def test_a_worker_that_dies_doubles_nothing_on_standard_output_and_in_the_report(ace: Ace, tmp_path: Path) -> None:
    (tmp_path / "deadly.yaml").write_text(DEADLY)
    camera = "camera=synthetic:pen?size=64x48&frames=8&rate=max"
    done = ace("run", "deadly.yaml", "--bind", camera, "--workers", "processes", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [0, *range(2, 8)]
    report = json.loads((tmp_path / "report.json").read_text())
    assert sum(worker["restarts"] for worker in report["workers"]) == 1
    assert report["outputs"]["deadly"]["points"]["results"] == 7
    assert report["streams"]["camera"]["dropped"] == {"deadly.sour": {"error": 1}}
    runs = {node["names"][0]: (node["runs"], node["errors"]) for node in report["nodes"].values()}
    assert runs == {"deadly.level": (8, 0), "deadly.sour": (7, 1), "deadly.fatal": (7, 0)}
