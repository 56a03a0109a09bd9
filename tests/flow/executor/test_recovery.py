"""Failures of an operator's author, and deaths at moments that are hard to survive."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
import manifests
from flow.plan.value import Plan

pytestmark = pytest.mark.usefixtures("operators")

Clip = Callable[..., Path]
Business = Callable[..., Path]

HEAD = """
import os, signal, time
from pathlib import Path
import numpy as np
from devices.spec import RecordsSpec
from ops.contract import Operator, port
POINTS = RecordsSpec("points", 4)

class Light(Operator):
    op = "own.light"
    kind = "{kind}"
    inputs = {{"points": port("points")}}
    outputs = {{"points": port("points")}}

    class Config(Operator.Config):
        marks: str = ""

    def infer(self, specs):
        return {{"points": POINTS}}

    def first(self):
        '''Once in all lives.'''
        mark = Path(self.config.marks)
        there = mark.exists()
        mark.touch()
        return not there

    def run(self, frame, points):
        return points

    def here(self):
        '''Whether this is a worker, and not where the plan is made.'''
        return os.getpid() != int(os.environ["PLANNED_BY"])
"""
LEVEL = "level: {op: test.level, in: {image: camera}}\n"
LIGHT = LEVEL + "light: {op: own.light, in: {points: level}, config: {marks: %s}}"
LAST = """
    def open(self, context):
        super().open(context)
        self.last = np.zeros(1, POINTS.dtype)

    def run(self, frame, points):
        self.last = points.copy()

    def save(self):
        return self.last.tobytes()

    def restore(self, state):
        self.last = np.frombuffer(state, POINTS.dtype).copy()

    def flush(self):
        %s
        return self.last
"""


@pytest.fixture
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs the operator `own.light` with these methods beside, as its author would; gives its file."""
    from ops import catalog

    def install(methods: str, *, kind: str = "pure") -> Path:
        folder = tmp_path / "own"
        info = folder / "own_light-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-light\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[ace.operators]\nown.light = own_light:Light\n")
        (info / "RECORD").write_text("own_light.py,,\n")
        file = folder / "own_light.py"
        file.write_text(HEAD.format(kind=kind) + textwrap.indent(textwrap.dedent(methods), "    "))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.setenv("PLANNED_BY", str(os.getpid()))
        catalog.forget()
        return file

    yield install
    import sys

    sys.modules.pop("own_light", None)


def line_of(file: Path, text: str) -> int:
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def plan_of(path: Path, source: Path | str, **options: Any) -> Plan:
    return flow.make_plan(manifests.load(path, bind={"camera": str(source)}), **({"workers": "processes", "cores": 2} | options))


def finish(plan: Plan, *outputs: str) -> tuple[list[Any], dict[str, Any], flow.Executor]:
    with flow.Executor(plan) as run:
        results = list(run.results(*outputs))
    return results, run.report(), run


def test_an_error_says_where_in_the_code_of_its_author(clip: Clip, business: Business, light: Any, tmp_path: Path) -> None:
    file = light("def run(self, frame, points):\n    return np.linalg.inv(nothing)")
    _, report, _ = finish(plan_of(business(LIGHT % tmp_path, {"light": "light"}), clip(20)), "light")
    assert f"NameError: name 'nothing' is not defined (own_light.py:{line_of(file, 'nothing')})" in report["problems"][0]


def test_the_place_of_an_error_in_a_library_is_the_call_of_it(clip: Clip, business: Business, light: Any, tmp_path: Path) -> None:
    file = light("def run(self, frame, points):\n    return np.linalg.inv(np.zeros((2, 2)))")
    _, report, _ = finish(plan_of(business(LIGHT % tmp_path, {"light": "light"}), clip(20)), "light")
    assert f"Singular matrix (own_light.py:{line_of(file, 'linalg')})" in report["problems"][0]


@pytest.mark.parametrize(
    "method",
    [
        "def open(self, context):\n    raise RuntimeError('broken')",
        "def __init__(self, *args, **more):\n    super().__init__(*args, **more)\n    if self.here(): raise RuntimeError('broken')",
        "def infer(self, specs):\n    if self.here(): raise RuntimeError('broken')\n    return {'points': POINTS}",
    ],
    ids=["open", "constructor", "infer"],
)
def test_an_operator_that_cannot_be_opened_stops_only_who_needs_it(
    clip: Clip, business: Business, light: Any, tmp_path: Path, method: str
) -> None:
    file = light(method)
    sound = business(LEVEL + "count: {op: test.count, in: {points: level}}", {"count": "count"}, name="sound")
    broken = business(LIGHT % tmp_path, {"light": "light"}, name="broken")
    plan = flow.make_plan(manifests.load(sound, broken, bind={"camera": str(clip(60))}), workers="processes", cores=1)
    assert len(plan.lanes) == 1, "both share a lane"
    results, report, run = finish(plan)
    assert [(result.business, result.seq) for result in results] == [("sound", seq) for seq in range(60)]
    assert run.failed is not None
    assert sum(worker["restarts"] for worker in report["workers"]) == 0
    (problem,) = report["problems"]
    assert "broken.light" in problem
    assert "broken.yaml:" in problem
    assert "own.light" in problem
    assert f"RuntimeError: broken (own_light.py:{line_of(file, 'broken')})" in problem


def test_an_operator_that_kills_its_worker_as_it_is_opened_stops_only_who_needs_it(
    clip: Clip, business: Business, light: Any, tmp_path: Path
) -> None:
    light("def open(self, context):\n    os.kill(os.getpid(), signal.SIGKILL)")
    sound = business(LEVEL + "count: {op: test.count, in: {points: level}}", {"count": "count"}, name="sound")
    broken = business(LIGHT % tmp_path, {"light": "light"}, name="broken")
    plan = flow.make_plan(manifests.load(sound, broken, bind={"camera": str(clip(60))}), workers="processes", cores=1)
    results, report, run = finish(plan)
    assert [(result.business, result.seq) for result in results] == [("sound", seq) for seq in range(60)]
    assert "died in broken.light as it was opened" in report["problems"][0]
    assert run.failed is not None


def test_poison_is_counted_at_the_node_that_died_of_it(clip: Clip, business: Business) -> None:
    graph = LEVEL + "fine: {op: test.trouble, in: {points: level}, config: {at: 17, how: kill, once: false}}"
    plan = plan_of(business(graph, {"level": "level", "fine": "fine"}), clip(40), cores=1)
    results, report, _ = finish(plan)
    assert report["streams"]["camera"]["dropped"] == {"probe.fine": {"poison": 1}}
    assert [result.seq for result in results if result.output == "level"] == list(range(40)), "what came before it is not lost"
    assert [result.seq for result in results if result.output == "fine"] == [seq for seq in range(40) if seq != 17]


@pytest.mark.parametrize("cores", [1, 2])
def test_what_is_held_to_the_end_survives_a_death_there(clip: Clip, business: Business, light: Any, tmp_path: Path, cores: int) -> None:
    light(LAST % "if self.first(): os.kill(os.getpid(), signal.SIGKILL)", kind="stateful")
    plan = plan_of(business(LIGHT % (tmp_path / "mark"), {"light": "light"}), clip(40), cores=cores)
    results, report, run = finish(plan, "light")
    assert [(result.seq, result.points[0]["point"]) for result in results] == [(40, [16 + 39, 39])]
    assert sum(worker["restarts"] for worker in report["workers"]) == 1
    assert run.failed is None
    assert run.leaked_slots == 0


def test_a_flush_that_always_kills_is_poison(clip: Clip, business: Business, light: Any, tmp_path: Path) -> None:
    light(LAST % "os.kill(os.getpid(), signal.SIGKILL)", kind="stateful")
    plan = plan_of(business(LIGHT % (tmp_path / "mark"), {"light": "light"}), clip(40))
    results, report, _ = finish(plan, "light")
    assert results == []
    assert [(found["node"], found["seq"]) for found in report["poison"]] == [("probe.light", 40)]


def test_results_that_are_given_again_are_counted_once(clip: Clip, business: Business) -> None:
    plan = plan_of(business(LEVEL, {"level": "level"}), clip(400))
    with flow.Executor(plan) as run:
        seqs = []
        for result in run.results("level"):
            seqs.append(result.seq)
            if result.seq in (50, 150, 250):
                workers = run.snapshot()["workers"]
                os.kill(workers[-1]["pid"], signal.SIGKILL)
    assert seqs == list(range(400))
    assert run.report()["outputs"]["probe"]["level"]["results"] == 400


def test_a_thread_that_hangs_is_let_go_of(clip: Clip, business: Business, light: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """It holds no slots, and nobody waits for it at the end."""
    monkeypatch.setattr("flow.executor.supervisor.STOP_TIMEOUT_S", 3600.0)
    monkeypatch.setattr("flow.executor.supervisor.END_TIMEOUT_S", 3600.0)
    light("def run(self, frame, points):\n    while not Path(self.config.marks).exists(): time.sleep(0.05)\n    return points")
    graph = "bright: {op: test.tint, in: {image: camera}}\n" + LIGHT % f"{tmp_path}/mark, deadline_ms: 300"
    graph = graph.replace("image: camera}}\nlight", "image: bright}}\nlight").replace(", deadline_ms: 300}", "}, deadline_ms: 300")
    plan = plan_of(business(graph, {"light": "light"}), clip(40), workers="threads")
    before = set(threading.enumerate())
    results, report, run = finish(plan, "light")
    assert results == []
    assert "a thread cannot be ended" in report["problems"][0]
    assert run.leaked_slots == 0
    (tmp_path / "mark").touch()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def kill_both(run: flow.Executor, times: int) -> int:
    """SIGKILL to every worker of a run at the same moment, again and again."""
    run.wait_running()
    killed = 0
    while killed < times and run._ended == 0.0:
        time.sleep(0.15)
        workers = list(run._supervisor.workers.values())
        if not all(worker.ready for worker in workers):
            continue
        for worker in workers:
            worker.kill()
        killed += 1
    return killed


COUNT = """
bright: {op: test.tint, in: {image: camera}}
level: {op: test.level, in: {image: bright}, config: {work_ms: 1}}
count: {op: test.count, in: {points: level}}
"""


def test_both_ends_of_an_edge_that_die_together_lose_nothing(clip: Clip, business: Business, monkeypatch: Any) -> None:
    monkeypatch.setattr("flow.executor.supervisor.MOST_RESTARTS", 1000)
    monkeypatch.setattr("flow.executor.blame.MOST_OPENINGS", 1000)
    monkeypatch.setattr("flow.executor.workers.BACKOFF_MOST_S", 0.0)
    plan = plan_of(business(COUNT, {"count": "count"}), clip(1000))
    assert len(plan.lanes) > 1
    kills: list[int] = []
    with flow.Executor(plan) as run:
        killer = threading.Thread(target=lambda: kills.append(kill_both(run, 5)))
        killer.start()
        results = [(result.seq, result.event[0]["value"], result.reset) for result in run.results("count")]
        killer.join()
    assert results == [(seq, seq + 1, False) for seq in range(1000)]
    assert kills[0] > 0
    assert run.report()["outputs"]["probe"]["count"]["results"] == 1000
    assert run.leaked_slots == 0


def test_a_worker_that_dies_again_and_again_loses_nothing_over_zeromq(clip: Clip, business: Business, monkeypatch: Any) -> None:
    monkeypatch.setattr("flow.executor.supervisor.MOST_RESTARTS", 1000)
    monkeypatch.setattr("flow.executor.blame.MOST_OPENINGS", 1000)
    monkeypatch.setattr("flow.executor.workers.BACKOFF_MOST_S", 0.0)
    plan = plan_of(business(COUNT, {"count": "count"}), clip(1000), link="zmq")
    kills = 0
    with flow.Executor(plan) as run:
        results = []
        for result in run.results("count"):
            results.append((result.seq, result.event[0]["value"], result.reset))
            workers = list(run._supervisor.workers.values())
            if result.seq % 120 == 119 and all(worker.ready for worker in workers):
                workers[kills % len(workers)].kill()
                kills += 1
    assert results == [(seq, seq + 1, False) for seq in range(1000)]
    assert kills > 2
    assert run.leaked_slots == 0
