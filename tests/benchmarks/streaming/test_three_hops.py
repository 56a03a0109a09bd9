"""Three hops: producer, two stages that look at a frame and pass it on, consumer. Ours pass the picture on, the peers' must copy it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import ours
from .compare import Bar, against, interleaved, once, pick, show, show_figures
from .hop import Way, paced
from .theirs import PEERS, bare_write

pytestmark = [pytest.mark.usefixtures("peers"), pytest.mark.timeout(600)]

LATENCY = {("FullHD", False): Bar(0.15), ("FullHD", True): Bar(0.25), ("4K", False): Bar(0.06), ("4K", True): Bar(0.06)}
RATE = {False: Bar(100, least=True), True: Bar(2.5, least=True)}
OF_BARE_WRITE = Bar(0.85, least=True)


@pytest.mark.parametrize(("size", "write"), LATENCY)
def test_paced(benchmark: Any, tmp_path: Path, size: str, write: bool) -> None:
    way = paced(size, 3, write=write)
    found = once(benchmark, lambda: interleaved({name: partial(run, way, tmp_path) for name, run in {"ours": ours.run, **PEERS}.items()}))
    show_figures(str(way), found)
    best = [min(both) for both in zip(*(pick(found[peer], "p50_us") for peer in PEERS), strict=True)]
    show("p50 of the better peer's", against(pick(found["ours"], "p50_us"), best), LATENCY[size, write])


@pytest.mark.parametrize("write", RATE)
def test_rate_at_4k(benchmark: Any, tmp_path: Path, write: bool) -> None:
    way = Way("4K", 3, write=write)
    sides: dict[str, Any] = {name: partial(run, way, tmp_path) for name, run in {"ours": ours.run, **PEERS}.items()}
    if write:
        slots = ours.plan_of(way, tmp_path / "unused").pools[0].slots
        sides["bare"] = partial(bare_write, way, slots)
    found = once(benchmark, lambda: interleaved(sides))
    bare = found.pop("bare", None)
    show_figures(str(way), found)
    best = [max(both) for both in zip(*(pick(found[peer], "fps") for peer in PEERS), strict=True)]
    show("frames a second of the better peer's", against(pick(found["ours"], "fps"), best), RATE[write])
    if bare:
        show("frames a second of a bare write loop's", against(pick(found["ours"], "fps"), bare), OF_BARE_WRITE)
