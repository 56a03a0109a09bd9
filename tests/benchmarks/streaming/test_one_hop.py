"""One hop between two processes, w=0: the producer writes a header into each frame and sends it on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from . import ours
from .compare import Bar, against, interleaved, once, pick, show, show_figures
from .hop import SIZES, Way, paced
from .theirs import PEERS

pytestmark = [pytest.mark.usefixtures("peers"), pytest.mark.timeout(600)]

OF_ICEORYX2 = {"VGA": Bar(0.65), "FullHD": Bar(0.65), "4K": Bar(0.85)}
OF_DORA = Bar(0.25)
CPU_OF_ICEORYX2 = Bar(0.8)
LARGE_OF_SMALL = Bar(2)


def test_paced(benchmark: Any, tmp_path: Path) -> None:
    sides = {(size, name): partial(run, paced(size), tmp_path) for size in SIZES for name, run in {"ours": ours.run, **PEERS}.items()}
    found = once(benchmark, lambda: interleaved(sides))
    for size in SIZES:
        mine, iceoryx2, dora = (found[size, name] for name in ("ours", "iceoryx2", "dora"))
        show_figures(str(paced(size)), {"ours": mine, "iceoryx2": iceoryx2, "dora": dora})
        show("p50 of iceoryx2's", against(pick(mine, "p50_us"), pick(iceoryx2, "p50_us")), OF_ICEORYX2[size])
        show("p50 of dora's", against(pick(mine, "p50_us"), pick(dora, "p50_us")), OF_DORA)
        show("CPU a frame of iceoryx2's", against(pick(mine, "cpu_us"), pick(iceoryx2, "cpu_us")), CPU_OF_ICEORYX2)
    show("our p50 at 4K of ours at VGA", against(pick(found["4K", "ours"], "p50_us"), pick(found["VGA", "ours"], "p50_us")), LARGE_OF_SMALL)


@pytest.mark.parametrize("size", SIZES)
def test_back_to_back(benchmark: Any, tmp_path: Path, size: str) -> None:
    way = Way(size)
    sides = {name: partial(run, way, tmp_path) for name, run in {"ours": ours.run, **PEERS}.items()}
    found = once(benchmark, lambda: interleaved(sides))
    show_figures(str(way), found)
    show("CPU a frame of iceoryx2's", against(pick(found["ours"], "cpu_us"), pick(found["iceoryx2"], "cpu_us")), CPU_OF_ICEORYX2)
