from __future__ import annotations

from typing import Annotated, Any

import typer

from flow.cli.remote import ADDRESS, Cloud
from flow.cli.shadow import Agreement, Cpu, Memory, Shadow, Share, Slower, condition

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
Impact = Annotated[bool, typer.Option("--impact", help="Only say what it would do to the cohort.")]
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
    share: Share = None,
    cpu: Cpu = None,
    download: Download = False,
    impact: Impact = False,
    cloud: Cloud = ADDRESS,
) -> None:
    """Begin a rollout."""
    verb = "download" if download else "reload"
    if impact:
        _foresee(cloud, verb, {"cohort": cohort, "items": [item]})
        return
    body: dict[str, Any] = {"cohort": cohort, "item": item, "verb": verb}
    given: dict[str, Any] = {
        "stages": stage,
        "success": success,
        "abort": abort,
        "minimum": minimum,
        "deadline_s": deadline,
        "probation_s": probation,
    }
    given["shadow"] = condition(shadow, agreement=agreement, slower=slower, memory=memory, share=share, cpu=cpu)
    body |= {key: value for key, value in given.items() if value is not None}
    _say(cloud, "POST", "/v1/rollouts", body)


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


def _foresee(cloud: str, verb: str, body: dict[str, Any]) -> None:
    from flow.cli.failure import failures
    from flow.cli.remote import ask, foreseen

    with failures():
        foreseen(ask(cloud, "POST", f"/v1/impact/{verb}", body))


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
