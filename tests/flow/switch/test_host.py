"""An engine that may have nothing to run: the first plan, the last one, and what cannot be started."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flow.switch.aside import KEPT, set_aside
from flow.switch.host import NOTHING, Host
from manifests.sync.runtime import Release, RuntimeRefusal

Make = Callable[..., Release]
Rows = Callable[[], list[dict[str, object]]]
pytestmark = pytest.mark.usefixtures("operators")

BUSINESS = {
    "apiVersion": "ace/v1", "kind": "Business", "name": "level", "version": "1.0.0", "inputs": {"camera": "image"},
    "graph": {
        "level": {"op": "test.level", "in": {"image": "camera"}, "config": {"work_ms": 10}},
        "after": {"op": "test.frail", "in": {"points": "level"}},
    },
    "outputs": {"levels": "after"},
}  # fmt: skip
DEVICE = {
    "apiVersion": "ace/v1", "kind": "Device", "name": "porch", "streams": {"front": {"source": "stamps:frames=100000"}},
    "businesses": [{"use": "level", "bind": {"camera": "front"}}],
}  # fmt: skip


@pytest.fixture
def release(tmp_path: Path) -> Make:
    """A release as the store makes it; one without businesses has no Business manifest."""

    def make(revision: int, *, how: str = "none", version: str = "1.0.0", op: str = "test.frail", businesses: bool = True) -> Release:
        folder = tmp_path / f"release-{revision}"
        after = {"op": op, "in": {"points": "level"}, "config": {"how": how}}
        business = BUSINESS | {"version": version, "graph": {**BUSINESS["graph"], "after": after}}  # type: ignore[dict-item]
        device = DEVICE if businesses else DEVICE | {"businesses": []}
        paths = []
        for name, manifest in (("device", device), *((("business-level", business),) if businesses else ())):
            (folder / name).mkdir(parents=True)
            paths.append(folder / name / "manifest.json")
            paths[-1].write_text(json.dumps(manifest))
        return Release(revision, str(revision), tuple(paths))

    return make


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return lambda: [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    out = {"levels": [str(tmp_path / "out.jsonl")], "other": ["no/where.jsonl"]}
    made = Host(bind={"front": "stamps:frames=100000", "back": "never"}, out=out, workers="threads", link="auto", say=lambda _: None)
    yield made
    made.close()


def start(host: Host, release: Release) -> None:
    assert host.admit(release).admitted
    staging = host.stage(release)
    assert staging.ready, staging.problems
    assert host.verify(release.revision).passed == (not release.golden)
    assert host.switch(release.revision).revision == release.revision
    assert host.health().revision == release.revision


def test_from_nothing_to_a_plan_to_another_to_nothing(host: Host, release: Make, rows: Rows) -> None:
    assert host.health().revision == NOTHING
    with pytest.raises(RuntimeRefusal, match="expected revision 1 to be staged, got an engine that runs nothing"):
        host.switch(1)
    start(host, release(1))
    second = release(2, version="1.1.0")
    assert host.stage(second).ready
    switched = host.switch(2)
    assert switched.first_new == {stream: seq + 1 for stream, seq in switched.last_old.items()}
    host.settle(2)
    last = release(3, businesses=False)
    assert host.admit(last).admitted
    assert host.stage(last).ready
    host.switch(3)
    health = host.health()
    assert (health.revision, health.state, health.results) == (3, "running", {})
    host.settle(3)
    with pytest.raises(RuntimeRefusal, match="expected the running revision 3, got 2"):
        host.settle(2)
    found = rows()
    assert [row["seq"] for row in found] == list(range(len(found))), "what was in flight came out"


def test_what_cannot_be_started_leaves_an_engine_that_runs_nothing(host: Host, release: Make) -> None:
    bad = release(1, how="raise")
    assert host.stage(bad).ready
    with pytest.raises(RuntimeRefusal):
        host.switch(1)
    assert host.health().revision == NOTHING
    start(host, release(2))


def test_a_plan_that_cannot_be_made_is_refused_with_its_problem(host: Host, release: Make) -> None:
    unknown = release(1, op="test.nothing")
    assert not host.admit(unknown).admitted
    staging = host.stage(unknown)
    assert not staging.ready
    assert "test.nothing" in " ".join(staging.problems)


def test_a_release_that_is_staged_may_be_given_up(host: Host, release: Make) -> None:
    assert host.stage(release(2)).ready
    assert host.abort(2) is None
    with pytest.raises(RuntimeRefusal, match="expected a revision of at least 2"):
        host.stage(release(1))
    with pytest.raises(RuntimeRefusal):
        host.abort(2)


def test_results_of_earlier_engines_lie_beside(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    targets = [f"file:{path}", "zmq:tcp://127.0.0.1:1", "-", str(tmp_path / "empty.jsonl")]
    (tmp_path / "empty.jsonl").touch()
    for number in range(KEPT + 3):
        path.write_text(str(number))
        set_aside(targets)
    assert not path.exists()
    names = [f"out.jsonl.{place}" for place in range(1, KEPT + 1)]
    assert [(tmp_path / name).read_text() for name in names] == [str(KEPT + 3 - place) for place in range(1, KEPT + 1)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty.jsonl", *names]
