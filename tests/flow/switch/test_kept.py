"""A live source that shows a few pictures again and again, while plans change and workers die."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import levels, live_plan, running
from .test_reload import xs

pytestmark = pytest.mark.usefixtures("operators", "deaths_are_forgiven")

KEPT = 3


def test_pictures_that_are_shown_again_stay_what_they_are(write: Callable[..., Path]) -> None:
    """Each result is that of its frame's picture; a picture that changed while it is read would raise."""
    graph = "look: {{op: test.look, in: {{image: camera}}, config: {{wait_ms: {}}}}}"
    bind = {"camera": f"stamps:frames=100000&fps=200&live=1&kept={KEPT}"}
    plans = [live_plan(write("show", graph.format(wait), {"look": "look"}), bind=bind) for wait in (2.0, 3.0)]
    shown = levels(KEPT)
    with running(plans[0]) as (run, reader):
        for number in range(2):
            reader.wait_for("show.look", (number + 1) * 20)
            run.stage(plans[(number + 1) % 2], timeout_s=60)
            assert run.switch(timeout_s=60).lost == 0
        reader.wait_for("show.look", 60)
        before = list(reader.results["show.look"])
        assert xs(before) == [shown[result.seq % KEPT] for result in before]
        for worker in run._supervisor.workers.values():  # type: ignore[union-attr]
            count = reader.count("show.look")
            worker.kill()
            reader.wait_for("show.look", count + 20)
        run.drain()
    assert set(xs(reader.results["show.look"])) == set(shown)
    assert not any(node["errors"] for node in run.report()["nodes"].values())
    assert run.leaked_slots == 0
    assert run.failed is None
