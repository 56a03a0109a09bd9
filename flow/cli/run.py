from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flow.cli.options import Bind, Frames, Link, Out, Paths, Workers

if TYPE_CHECKING:
    from flow.cli.watch import Show
    from flow.plan.value import Plan

ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write what was counted and measured as JSON.", show_default=False),
]


def run(
    paths: Paths,
    bind: Bind = None,
    out: Out = None,
    frames: Frames = None,
    workers: Workers = "auto",
    link: Link = "auto",
    report: ReportFile = None,
) -> None:
    """Run businesses, or a device, until the sources end.

    Several paths run as one plan. Results are JSON lines on standard output unless --out says otherwise; progress and a summary go to
    standard error. An interrupt lets the frames in flight come out; a second one stops at once.
    """
    from flow.cli.failure import WRONG_INPUT, failures
    from flow.cli.planned import planned
    from flow.cli.report import check_apart, check_writable

    with failures():
        if report is not None:
            check_writable(report)
        plan = planned(paths, bind=bind, out=out, workers=workers, link=link)
        if report is not None:
            check_apart(report, plan, paths)
        if not plan.sinks:
            say("expected a business to run, got none; give the path of its manifest (kind: Business)")
            raise typer.Exit(WRONG_INPUT)
        status = run_plan(plan, frames=frames, report=report)
    raise typer.Exit(status)


def run_plan(plan: Plan, *, frames: int | None, report: Path | None) -> int:
    """Runs the plan to its end and returns the exit status; live figures on a terminal, a summary at the end."""
    from flow.cli.figures import Rates, line, summary
    from flow.cli.live import live
    from flow.cli.report import write_report
    from flow.plan.text import goals

    rates = Rates()
    results_on_screen = sys.stdout.isatty() and any(sink.target == "-" for sink in plan.sinks)
    with live(not results_on_screen) as screen:

        def show(snapshot: Mapping[str, Any]) -> None:
            rates.look(snapshot)
            if screen is not None:
                screen(line(snapshot, rates))

        status, done = running(plan, frames=frames, show=show if screen is not None else None)
    if report is not None:
        write_report(done, report)
    print("\n".join(summary(done, goals(plan))), file=sys.stderr)
    return status


def running(plan: Plan, *, frames: int | None, show: Show | None) -> tuple[int, Mapping[str, Any]]:
    """Runs the plan until it ends or a signal ends it: exit status and report. What goes wrong meanwhile is said on standard error.

    The report's `running_seconds` do without the start of the workers.
    """
    from flow import Executor
    from flow.cli.failure import FAILED
    from flow.cli.outcome import fruitless
    from flow.cli.watch import signals, watch
    from flow.prepare import ready as prepared

    ready: list[float] = []

    def heard(event: Mapping[str, Any]) -> None:
        if event["event"] == "running":
            ready.append(time.monotonic())
        told(event)

    prepared(plan, say)
    with signals() as asked, Executor(plan, frames=frames, on_event=heard) as run:
        status = watch(run, asked, show)
        report = run.report() | {"running_seconds": round(time.monotonic() - ready[0], 4) if ready else 0.0}
    if run.failed and not report["problems"]:  # problems were told as they came
        say(run.failed)
    for line in (nothing := fruitless(plan, report)):
        say(line)
    return status or (FAILED if nothing else 0), report


def say(message: str) -> None:
    """A line on standard error."""
    print(message, file=sys.stderr, flush=True)


def told(event: Mapping[str, Any]) -> None:
    """Says what an event says."""
    if "message" in event:
        say(event["message"])
