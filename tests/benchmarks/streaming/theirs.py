"""The peers' side: the same way through iceoryx2 and dora, their programs started as processes of their own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from .hop import Figures, Way

HERE = Path(__file__).parent / "peers"
POOL_BYTES = 512 << 20
"""dora's own default is 8 MiB, less than two FullHD frames: it then falls back to copies through its daemon."""
QUEUE = 4
"""Frames that wait before a dora node. Its default, 10, holds more 4K frames than the pool has while the first ones are slow."""
TIMEOUT_S = 60
TRIES = 3
"""Runs of dora that lose so many frames that nothing is left to measure are tried again."""


def missing() -> list[str]:
    """Peers that are not installed."""
    return [name for name in ("iceoryx2", "dora", "pyarrow") if importlib.util.find_spec(name) is None]


def over_iceoryx2(way: Way, folder: Path) -> Figures:
    """A process for the camera, each stage and the sink."""
    out = folder / "iceoryx2.json"
    out.unlink(missing_ok=True)
    name = f"ace-bench-{uuid.uuid4().hex[:12]}"
    roles = ["camera", *["stage"] * (way.hops - 1), "sink"]
    processes = [
        subprocess.Popen([sys.executable, HERE / "over_iceoryx2.py", role, name, str(place), *arguments(way, out)], stdin=subprocess.PIPE)
        for place, role in enumerate(roles)
    ]
    try:
        assert processes[-1].wait(TIMEOUT_S) == 0
        for process in processes[:-1]:
            process.communicate(timeout=TIMEOUT_S)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdin.close()
    return Figures.read(out)


def over_dora(way: Way, folder: Path) -> Figures:
    """A dataflow with a node for the camera, each stage and the sink."""
    out = folder / "dora.json"
    out.unlink(missing_ok=True)
    names = ["camera", *(f"stage{number}" for number in range(way.hops - 1)), "sink"]
    nodes = []
    for place, name in enumerate(names):
        node = {"id": name, "path": sys.executable, "args": node_arguments(name.rstrip("01"), way, out)}
        node["inputs"] = (
            {"credit": "sink/credit"} if place == 0 else {"frame": {"source": f"{names[place - 1]}/frame", "queue_size": QUEUE}}
        )
        node["outputs"] = ["credit"] if name == "sink" else ["frame"]
        node["env"] = {"DORA_NODE_SHM_POOL_SIZE": POOL_BYTES}
        nodes.append(node)
    flow = folder / "dataflow.yml"
    flow.write_text(json.dumps({"nodes": nodes}))  # JSON is YAML
    command = [Path(sys.executable).with_name("dora"), "run", flow]
    for _ in range(TRIES):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if out.exists():
            return Figures.read(out)
    raise RuntimeError(f"dora: expected figures from its sink, got none in {TRIES} tries:\n{done.stdout}{done.stderr}")


def node_arguments(role: str, way: Way, out: Path) -> str:
    return " ".join(map(str, [HERE / "over_dora.py", role, *arguments(way, out)]))


def arguments(way: Way, out: Path) -> list[str]:
    return [str(way.nbytes), f"{way.rate:g}", str(way.seconds), str(int(way.write)), str(out)]


def bare_write(way: Way, slots: int) -> float:
    """Frames a second of a loop that only writes them."""
    command = [sys.executable, HERE / "bare_write.py", str(way.nbytes), str(slots), str(way.seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout)


PEERS: Mapping[str, Callable[[Way, Path], Figures]] = {"iceoryx2": over_iceoryx2, "dora": over_dora}
