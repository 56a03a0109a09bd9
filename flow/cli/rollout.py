from __future__ import annotations

from typing import Annotated, Any

import typer

from flow.cli.remote import ADDRESS, Cloud

rollout = typer.Typer(no_args_is_help=True, help="Take a change to a cohort in stages.", rich_markup_mode=None)

Item = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="model/NAME or business/NAME.", show_default=False)]
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Of the rollout.", show_default=False)]
Cohort = Annotated[str, typer.Option("--cohort", metavar="NAME", help="Which devices.")]
Stage = Annotated[
    list[str] | None,
    typer.Option("--stage", metavar="N|N%", help="How many devices, cumulative; once for each stage. Default: 1% 10% 100%."),
]
Minimum = Annotated[
    int | None, typer.Option("--minimum", metavar="N", min=1, help="Judge failures when so many have answered.", show_default=False)
]
Seconds = Annotated[
    float | None, typer.Option("--deadline", metavar="SECONDS", help="Who has not answered by then has failed.", show_default=False)
]
Success = Annotated[
    float | None, typer.Option("--success", min=0, max=1, help="Share that must be done before the next stage.", show_default=False)
]
Abort = Annotated[
    float | None, typer.Option("--abort", min=0, max=1, help="More failures than this share take it back.", show_default=False)
]
Probation = Annotated[
    float | None,
    typer.Option("--probation", metavar="SECONDS", min=0, help="How long it must prove itself on each device.", show_default=False),
]
Shadow = Annotated[
    float | None,
    typer.Option(
        "--shadow",
        metavar="SECONDS",
        min=1,
        help="First run it so long beside what runs, on each device; switch only where its results agree.",
        show_default=False,
    ),
]
Agreement = Annotated[
    float | None, typer.Option("--agreement", min=0, max=1, help="Of a shadow: least agreement. Default: 0.9.", show_default=False)
]
Slower = Annotated[
    float | None, typer.Option("--slower", metavar="TIMES", help="Of a shadow: most times the median latency.", show_default=False)
]
Memory = Annotated[
    int | None, typer.Option("--memory", metavar="MB", min=0, help="Of a shadow: most memory beside what runs.", show_default=False)
]
Frames = Annotated[
    float | None, typer.Option("--share", help="Of a shadow: share of the frames. Default: 0.1.", show_default=False, min=0.001, max=1)
]
Cpu = Annotated[
    float | None, typer.Option("--cpu", metavar="CORES", help="Of a shadow: most of a core. Default: 0.25.", show_default=False)
]
Download = Annotated[bool, typer.Option("--download", help="Only fetch and keep.")]


@rollout.command()
def create(
    item: Item,
    cohort: Cohort,
    stage: Stage = None,
    success: Success = None,
    abort: Abort = None,
    minimum: Minimum = None,
    deadline: Seconds = None,
    probation: Probation = None,
    shadow: Shadow = None,
    agreement: Agreement = None,
    slower: Slower = None,
    memory: Memory = None,
    share: Frames = None,
    cpu: Cpu = None,
    download: Download = False,
    cloud: Cloud = ADDRESS,
) -> None:
    """Begin a rollout."""
    body: dict[str, Any] = {"cohort": cohort, "item": item, "verb": "download" if download else "reload"}
    given: dict[str, Any] = {
        "stages": stage,
        "success": success,
        "abort": abort,
        "minimum": minimum,
        "deadline_s": deadline,
        "probation_s": probation,
    }
    limits = {"agreement": agreement, "latency": slower, "memory_bytes": memory and memory * 10**6, "share": share, "cpu": cpu}
    given["shadow"] = _condition(shadow, {key: value for key, value in limits.items() if value is not None})
    body |= {key: value for key, value in given.items() if value is not None}
    _say(cloud, "POST", "/v1/rollouts", body)


def _condition(seconds: float | None, limits: dict[str, Any]) -> dict[str, Any] | None:
    """What a shadow must show."""
    if seconds is None and limits:
        raise typer.BadParameter("expected --shadow SECONDS beside what it must show, got none; say how long it is to run")
    return None if seconds is None else {"seconds": seconds, **limits}


@rollout.command()
def show(number: Number, cloud: Cloud = ADDRESS) -> None:
    """Show how a rollout stands."""
    _say(cloud, "GET", f"/v1/rollouts/{number}")


@rollout.command()
def pause(number: Number, cloud: Cloud = ADDRESS) -> None:
    """Send it to no more devices for now."""
    _say(cloud, "POST", f"/v1/rollouts/{number}/pause")


@rollout.command()
def resume(number: Number, cloud: Cloud = ADDRESS) -> None:
    """Go on; after a stage that fell short, accept it."""
    _say(cloud, "POST", f"/v1/rollouts/{number}/resume")


@rollout.command()
def abort(number: Number, cloud: Cloud = ADDRESS) -> None:
    """Take it back from all that got it."""
    _say(cloud, "POST", f"/v1/rollouts/{number}/abort")


def _say(cloud: str, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    from flow.cli.failure import failures
    from flow.cli.remote import ask

    with failures():
        told = ask(cloud, method, path, body)
        if "state" not in told:
            print(f"rollout {told['id']}")
            return
        spec = told["spec"]
        why = f": {told['why']}" if told["why"] else ""
        print(f"rollout {told['id']}  {spec['verb']} {spec['item']} on {told['cohort']}  {told['state']}{why}")
        print(f"stage {told['stage'] + 1} of {len(spec['stages'])}: {', '.join(spec['stages'])}")
        print(f"devices: {', '.join(f'{count} {state}' for state, count in sorted(told['devices'].items()))}")
        if told["failed"]:
            print(f"failed: {', '.join(told['failed'])}")
