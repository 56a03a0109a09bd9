from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flow.sinks.contract import SinkClosedError, SinkError
from flow.sinks.stdout import Stdout

WRITER = """
import sys
from flow.plan.value import Ref, Sink
from flow.result import Result
from flow.sinks.stdout import Stdout
from devices.spec import RecordsSpec
sink = Stdout(Sink(1, "pet", "1", "pets", "-", Ref("a", "b"), RecordsSpec("detections", 1), "front", ()), 25.0)
sink.open(resume=False)
for seq in range(200):
    sink.write(Result("pet", "1", "pets", sys.argv[1], seq, seq, None, "p", 1.0, {"detections": ["x" * 20_000]}), None)
sink.close()
"""


def test_rows_come_out_whole_from_several_workers() -> None:
    read, write = os.pipe()
    workers = [subprocess.Popen([sys.executable, "-c", WRITER, name], stdout=write) for name in ("front", "back")]
    os.close(write)
    with os.fdopen(read) as lines:
        rows = [json.loads(line) for line in lines]
    assert [worker.wait() for worker in workers] == [0, 0]
    for name in ("front", "back"):
        assert [row["seq"] for row in rows if row["stream"] == name] == list(range(200))


def test_whoever_reads_may_go(plan_of, result, monkeypatch) -> None:
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr("flow.sinks.stdout.STDOUT", write)
    sink = Stdout(plan_of("-"), 25.0)
    sink.open(resume=False)
    with pytest.raises(SinkClosedError):
        sink.write(result(0), None)
    sink.close()
    os.close(write)


def test_a_pipe_that_does_not_block_is_waited_for(plan_of, result, monkeypatch) -> None:
    import threading

    read, write = os.pipe()
    os.set_blocking(write, False)
    monkeypatch.setattr("flow.sinks.stdout.STDOUT", write)
    sink = Stdout(plan_of("-"), 25.0)
    sink.open(resume=False)
    big = result(0, payload={"detections": ["x" * 300_000]})
    thread = threading.Thread(target=lambda: sink.write(big, None))
    thread.start()
    got = b""
    while not got.endswith(b"\n"):
        got += os.read(read, 1 << 16)
    thread.join()
    assert got == big.line()
    sink.close()
    os.close(read)
    os.close(write)


def test_into_a_file_rows_follow_each_other(plan_of, result, monkeypatch, tmp_path: Path) -> None:
    with (tmp_path / "rows").open("wb", buffering=0) as file:
        monkeypatch.setattr("flow.sinks.stdout.STDOUT", file.fileno())
        sinks = [Stdout(plan_of("-"), 25.0) for _ in range(2)]
        for sink in sinks:
            sink.open(resume=False)
        for seq in range(4):
            sinks[seq % 2].write(result(seq), None)
        for sink in sinks:
            sink.close()
    assert [json.loads(line)["seq"] for line in (tmp_path / "rows").read_text().splitlines()] == [0, 1, 2, 3]


def test_a_closed_standard_output_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("flow.sinks.stdout.STDOUT", 987)
    with pytest.raises(SinkError, match="name a file"):
        Stdout.check("-")
