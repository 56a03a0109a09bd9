"""Streams: every source that a business is bound to is looked at once, before the plan is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flow.plan.problems import Problems
from flow.plan.value import Policy, Stream
from flow.sources.contract import Probe, SourceError
from manifests.deployment import Deployment, Position
from manifests.schema.device import Every, StreamManifest

Prober = Callable[[str, Mapping[str, Any], str | None], Probe]
"""Looks at a source: (uri, options, `user:password`) -> Probe. Raises SourceError."""

QUEUE = 4
"""Frames that `drop_oldest` keeps waiting when the manifest does not say."""


def look_at_streams(deployment: Deployment, probe: Prober | None, problems: Problems) -> list[Stream]:
    """The streams that are bound, without an address yet; one that cannot be looked at is a problem at its line."""
    from flow import sources
    from flow.sources.secrets import read_secret

    look = probe or sources.probe
    bound = {name for use in deployment.uses for name in use.bind.values()}
    streams = []
    for name, manifest in deployment.streams.items():
        if name not in bound:
            continue
        uri = located(manifest.source, deployment)
        options = {key: value for key, value in (("size", manifest.size), ("fps", manifest.fps)) if value is not None}
        try:
            secret = read_secret(manifest.secret) if manifest.secret else None
            seen = look(uri, options, secret)
        except SourceError as error:
            position = deployment.stream_positions.get(name, Position(deployment.device))
            problems.add(position, f"streams.{name}.source", expected="a source that can be opened", got=str(error))
            continue
        streams.append(_stream(name, uri, manifest, seen, options))
    return streams


def located(source: str, deployment: Deployment) -> str:
    """The source with a relative path made absolute: it starts from the Device manifest's folder."""
    from flow.sources import path_of

    scheme, colon, _ = source.partition(":")
    if colon and scheme != "file" and not (deployment.base / source).exists():
        return source
    return str((deployment.base / path_of(source)).absolute())


def _stream(name: str, uri: str, manifest: StreamManifest, seen: Probe, options: Mapping[str, Any]) -> Stream:
    policy, every = overload(manifest, seen.live)
    return Stream(
        name=name,
        address="",
        source=uri,
        spec=seen.spec,
        fps=manifest.fps or seen.fps,
        live=seen.live,
        policy=policy,
        every=every,
        queue=manifest.queue or (QUEUE if policy == "drop_oldest" else 1),
        secret=manifest.secret,
        loop=manifest.loop,
        reconnect=manifest.reconnect,
        options=options or None,
        kept=max(0, seen.kept) if seen.live else 0,
    )


def overload(manifest: StreamManifest, live: bool) -> tuple[Policy, int]:
    """What happens to frames that nobody has time for, and which frames are taken at all: (policy, every)."""
    match manifest.overload:
        case Every(every=step):
            return "every", step
        case None:
            return ("latest" if live else "block"), 1
        case name:
            return name, 1
