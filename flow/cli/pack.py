from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flow.cli.options import Paths

if TYPE_CHECKING:
    from manifests.bundle.items import ItemDocument
    from manifests.bundle.pack import Pack

BOUND = re.compile(r"([a-z0-9_-]+(?:\.[a-z0-9_-]+)?)=(.+)")

Output = Annotated[Path, typer.Option("--output", "-o", metavar="NAME.ace", help="The bundle to write.", show_default=False)]
Golden = Annotated[
    list[str] | None,
    typer.Option(
        "--golden",
        metavar="[INPUT=]SOURCE",
        help="Record a golden clip of each business from this source: frames, and what the business gives for them. BUSINESS.INPUT=SOURCE "
        "where names clash.",
        show_default=False,
    ),
]
Frames = Annotated[int, typer.Option("--golden-frames", metavar="N", min=8, max=32, help="Frames of a golden clip.")]
Every = Annotated[int, typer.Option("--golden-every", metavar="N", min=1, max=100, help="Take every Nth frame of its source.")]
Trust = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        metavar="DIR",
        help="Sign it as an update file, with the offline keys of this repository (`ace trust init`); see docs/fleet.md.",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]
For = Annotated[str, typer.Option("--for", metavar="KEY", help="The device that a signed file is for; * is any with this root of trust.")]
Revision = Annotated[
    int | None,
    typer.Option("--revision", metavar="N", min=1, help="The revision of a signed file: devices take only newer ones.", show_default=False),
]


def pack(
    paths: Paths,
    output: Output,
    golden: Golden = None,
    golden_frames: Frames = 16,
    golden_every: Every = 5,
    trust: Trust = None,
    device: For = "*",
    revision: Revision = None,
) -> None:
    """Pack manifests with everything they name into one file.

    Version ranges are resolved among the given manifests. The same manifests and files give the same bytes.
    """
    from flow.cli.failure import failures

    if (trust is None) != (revision is None):
        raise typer.BadParameter("expected --trust and --revision together")
    with failures():
        from manifests.bundle import pack as packing

        made = packing.pack(*paths)
        add_costs(made)
        if golden:
            add_golden(made, golden, golden_frames, golden_every)
        identity = made.save(output)
        if trust is not None and revision is not None:
            made.save(output, signed(output, trust, device, revision))
        size = output.stat().st_size
    print(f"{output}: {len(made.items)} items, {size / 1e6:.1f} MB, sha256 {identity}", file=sys.stderr)


def add_golden(made: Pack, golden: Sequence[str], frames: int, every: int) -> None:
    """Records a clip of every business."""
    from flow.golden import record

    said = [BOUND.fullmatch(each) for each in golden]
    bound = {match[1]: match[2] for match in said if match}
    everywhere = next((each for each, match in zip(golden, said, strict=True) if not match), None)
    used = set()
    for lock in list(made.locks):
        business = made.items[lock.pair.business]
        sources = {}
        for name in inputs_of(made, business):
            key = next((each for each in (f"{business.name}.{name}", name) if each in bound), None)
            if key is None and everywhere is None:
                raise typer.BadParameter(f"expected a source for {business.name}.{name}, got none: --golden {name}=SOURCE")
            used.add(key)
            sources[name] = bound[key] if key else str(everywhere)
        made.golden(lock.pair, business, record(made, lock, sources, frames=frames, every=every))
    if unused := sorted(set(bound) - used):
        raise typer.BadParameter(f"expected inputs of a packed business, got {', '.join(unused)}", param_hint="'--golden'")


def inputs_of(made: Pack, business: ItemDocument) -> list[str]:
    """The inputs of a business."""
    import json

    content = made.contents[business.files["manifest.json"].sha256]
    assert isinstance(content, bytes)
    return list(json.loads(content)["inputs"])


def add_costs(made: Pack) -> None:
    """What each business takes of memory on streams of 640 x 360, on one core: the same figures wherever it is packed."""
    import tempfile

    import flow
    from flow.cli.unseen import ANY_SOURCE, NO_LIMIT, look_away
    from flow.golden import write_manifests
    from manifests.loading import load

    for lock in list(made.locks):
        with tempfile.TemporaryDirectory(prefix="ace-pack-") as folder:
            deployment = load(*write_manifests(made, lock, Path(folder)), unbound=ANY_SOURCE)
            plan = flow.make_plan(deployment, probe=look_away, memory=NO_LIMIT, cores=1, workers="threads")
        made.costs(lock.pair, {"ram-bytes": plan.ram_bytes, "shared-memory-bytes": plan.shared_memory_bytes})


def signed(bundle: Path, trust: Path, device: str, revision: int) -> bytes:
    """The desired state that runs all of a bundle, signed, with everything in it signed too and the metadata that say so."""
    from datetime import UTC, datetime

    from manifests.bundle.bundle import opened
    from manifests.trust.contents import signable
    from manifests.trust.repository import Repository

    now, repository = datetime.now(UTC), Repository(trust)
    with opened(bundle) as read:
        if new := {item: terms for item, terms in signable(read).items() if not repository.signed(item)}:
            repository.add(new, now)
        desired = read.desired(device, revision=revision, issued=now.isoformat())
    return repository.update(desired, now).encoded()
