"""Opens a worker's source where an earlier life of the worker stopped."""

from __future__ import annotations

from flow.ledger import Block
from flow.plan.value import Stream
from flow.worker.ahead import AheadSource
from flow.worker.live import LiveSource
from flow.worker.memory import Lease, picture_memory
from flow.worker.source import Tell, WaitingSource


def replays(stream: Stream) -> bool:
    """Whether a successor of the source's worker can give the same frames again, in the same turns."""
    return not stream.live and stream.policy in ("block", "every")


def open_source(
    stream: Stream, chain: int, block: Block, lease: Lease, frames: int | None, tell: Tell, *, ahead: bool
) -> LiveSource | WaitingSource:  # fmt: skip
    """The first stage of a chain, its pictures in the memory of `lease`, of at most so many `frames`; `tell` is for the executor.

    `ahead`: no read may keep the worker.
    """
    from flow.sources.stream import StreamReader

    seq = block.get(f"chain:{chain}.next_seq")
    if not replays(stream):
        seq = max(seq, block.get(f"stream:{stream.name}.in"))
    pts = block.get(f"chain:{chain}.last_pts") if seq else -1
    reader = StreamReader(stream, start_seq=seq, start_pts_ns=pts)
    memory = picture_memory(lease, fresh=stream.live)
    stage: LiveSource | WaitingSource
    if stream.live:
        stage = LiveSource(stream, chain, reader, block, memory, frames, tell)
    else:
        stage = (AheadSource if ahead else WaitingSource)(stream, chain, reader, block, memory, frames)
        stage.promised = block.get(f"stream:{stream.name}.in")
    with block.change():
        _recount(stream, seq, block)
        block.set(f"stream:{stream.name}.in_flight", 0)
    return stage


def _recount(stream: Stream, seq: int, block: Block) -> None:
    """Frames from `seq` on, read but not settled by an earlier life, are read, and counted, again; or they died with it."""
    key = f"stream:{stream.name}"
    if not replays(stream):
        dropped = sum(block.get(one) for one in block.layout.keys if one.startswith(f"{key}.dropped:"))
        block.add(f"{key}.dropped:death", block.get(f"{key}.in") - block.get(f"{key}.out") - dropped)
        return
    if stream.policy == "every":
        block.set(f"{key}.dropped:every", seq - -(-seq // stream.every))
    block.set(f"{key}.in", seq)
    block.set(f"{key}.out", seq - sum(block.get(one) for one in block.layout.keys if one.startswith(f"{key}.dropped:")))
