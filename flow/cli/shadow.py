"""Options of a change that is tried out beside what runs before anything is switched."""

from __future__ import annotations

from typing import Annotated, Any

import typer

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
Share = Annotated[
    float | None, typer.Option("--share", help="Of a shadow: share of the frames. Default: 0.1.", show_default=False, min=0.001, max=1)
]
Cpu = Annotated[
    float | None, typer.Option("--cpu", metavar="CORES", help="Of a shadow: most of a core. Default: 0.25.", show_default=False)
]


def condition(
    seconds: float | None, *, agreement: float | None, slower: float | None, memory: int | None, share: float | None, cpu: float | None
) -> dict[str, Any] | None:
    """What a shadow must show, as the cloud is told; None where there is to be none. Raises typer.BadParameter."""
    limits = {"agreement": agreement, "latency": slower, "memory_bytes": memory and memory * 10**6, "share": share, "cpu": cpu}
    given = {key: value for key, value in limits.items() if value is not None}
    if seconds is None and given:
        raise typer.BadParameter("expected --shadow SECONDS beside what it must show, got none; say how long it is to run")
    return None if seconds is None else {"seconds": seconds, **given}
