"""Our side: the way as a business, through the executor as shipped, each stage in a worker of its own."""

from __future__ import annotations

from pathlib import Path

import flow
import manifests
from flow.plan.value import Plan

from .hop import Figures, Way

STAGES = ("left", "right")
CORES = 2


def plan_of(way: Way, out: Path) -> Plan:
    """The source, the stages (on devices that are the host under another name, so each gets its own worker), the recorder."""
    business = manifests.build("bench", version="1.0.0")
    picture = business.input("camera")
    for number in range(way.hops - 1):
        picture = business.node(f"stage{number}", "bench.pass", image=picture, device=STAGES[number])
    business.output("seen", business.node("seen", "bench.record", image=picture, out=str(out)))
    source = f"bench:?width={way.width}&height={way.height}&rate={way.rate:g}&seconds={way.seconds}&write={int(way.write)}"
    plan = flow.make_plan(manifests.load(business.business(), bind={"camera": source}), workers="processes", cores=CORES)
    assert len(plan.lanes) == way.hops + 1, "every stage has a worker of its own"
    return plan


def run(way: Way, folder: Path) -> Figures:
    """Sends frames for as long as the way says."""
    out = folder / "ours.json"
    with flow.Executor(plan_of(way, out)) as executor:
        assert executor.wait(way.seconds + 60)
    assert executor.failed is None, executor.failed
    assert executor.leaked_slots == 0
    return Figures.read(out)
