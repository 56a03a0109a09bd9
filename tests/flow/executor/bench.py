"""A plan's workers in one process, each stepped by hand over the executor's own rings, pools and blocks, and killed at any line.

A kill is exact: what others can see (rings, pools, blocks, files) is put aside when the worker reaches the line; the step is
finished, the worker thrown away, and all that it wrote after the line is undone. Its successor starts as the executor starts it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from flow.executor.memory import SharedMemory
from flow.executor.workers import Worker
from flow.ledger import conserved
from flow.plan.value import Plan
from flow.wiring import LinkId, Seat, Wiring
from flow.worker import control, lane
from flow.worker.alone import run_alone
from flow.worker.lane import LaneWorker
from flow.worker.setup import Setup

TRACED = tuple(f"{os.sep}flow{os.sep}{part}" for part in ("worker", "link", "pool.py", "ledger.py", "entry.py"))


class Wire:
    """A ZeroMQ link in the memory of this process: what is sent goes on its way at once, and is lost with the link."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []
        self.said: list[tuple[int, int]] = []


class WireSender:
    waitable = None

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.durable = self.done = 0

    def unfinished(self) -> None:
        return None

    def stirs(self) -> bool:
        return bool(self.wire.said)

    def send(self, index: int, data: bytes) -> None:
        self.wire.entries.append((index, bytes(data)))

    def poll(self) -> bool:
        moved = bool(self.wire.said)
        while self.wire.said:
            received, done = self.wire.said.pop(0)
            self.durable, self.done = max(self.durable, received), max(self.done, done)
        return moved

    def close(self) -> None:
        pass


class WireReceiver:
    waitable = None

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def receive(self) -> tuple[int, memoryview] | None:
        if not self.wire.entries:
            return None
        index, data = self.wire.entries.pop(0)
        return index, memoryview(data)

    def stirs(self) -> bool:
        return bool(self.wire.entries)

    def acknowledge(self, received: int, done: int) -> None:
        self.wire.said.append((received, done))

    def close(self) -> None:
        pass


class Line(control.Control):
    """A worker's line to the bench, without ZeroMQ."""

    bench: Bench

    def __init__(self, context: Any, address: str, name: str, sock: socket.socket) -> None:
        self.sock, self.name = sock, name
        self.attach = lambda grant, pool: None
        self.connect = lambda grant, fds: None
        self.late = []

    def tell(self, event: str, **fields: Any) -> None:
        self.bench.told(self.name, {"event": event, **fields})

    def commands(self) -> list[dict[str, Any]]:
        return []

    def close(self) -> None:
        self.sock.close()


class Bench:
    """All workers of a plan. `step` lets one do what it can; `kill` kills it when it has run so many lines more."""

    def __init__(self, plan: Plan, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.plan, self.folder = plan, folder
        self.wiring = Wiring(plan)
        self.problems: list[str] = []
        line: Any = type("BenchLine", (Line,), {"bench": self})
        patch.setattr(lane, "Control", line)
        self.workers = {
            seat: Worker(seat, self.wiring.layout(one), threads=1, device="cpu")
            for seat in self.wiring.seats()
            for one in (self.wiring.lanes[seat.lane],)
        }
        self.memory = SharedMemory(self.wiring, self.workers)
        self.wires: dict[LinkId, Wire] = {}
        self.lives: dict[Seat, LaneWorker] = {}
        self.left: dict[Seat, int] = {}
        """Lines that a worker still has to live."""
        self.with_it: dict[Seat, Seat] = {}
        """Who dies at the same moment."""
        self.kills = 0
        for seat in self.workers:
            self._start(seat)

    @property
    def seats(self) -> list[Seat]:
        return list(self.workers)

    def told(self, name: str, event: dict[str, Any]) -> None:
        if event["event"] == "grow":
            seat = next(seat for seat in self.workers if name.startswith(f"{seat.name}."))
            self.memory.grow(self.workers[seat], event)
        elif event["event"] != "ended":
            self.problems.append(f"{name}: {event}")

    # ---- life

    def _start(self, seat: Seat) -> None:
        worker = self.workers[seat]
        ours, theirs = socket.socketpair()
        worker.sock, worker.gone = ours, False
        worker.incarnation += 1
        worker.block.set_status("ended", 0)
        worker.block.leave()
        setup = Setup(seat.lane, seat.replica, worker.incarnation, "", None)
        fds = [os.dup(fd) for fd in (worker.fd, worker.bell.bell, worker.bell.word)]
        life = LaneWorker(setup, self.plan, fds, theirs, {})
        self.lives[seat] = life
        self.memory.hand_over(worker)
        worker.send({"kind": "build"})
        self._live(seat, lambda: self._build(seat, life))

    def _build(self, seat: Seat, life: LaneWorker) -> None:
        while life.control.take().get("kind") != "build":
            pass
        life.build()
        for chain in life.chains:
            chain.go = True
        if self.plan.link == "zmq":
            for link in self.wiring.links():
                ends = self.wiring.ends(link)
                if seat in ends and all(end in self.lives and self.lives[end].links.chains for end in ends):
                    wire = self.wires[link] = Wire()
                    self.lives[ends[1]].links.receive_from(link, WireReceiver(wire))  # type: ignore[arg-type]
                    self.lives[ends[0]].links.send_over(link, WireSender(wire))  # type: ignore[arg-type]

    def step(self, seat: Seat) -> bool:
        """One round of a worker; whether it did anything."""
        life = self.lives[seat]
        moved = [False]

        def go() -> None:
            while life.control.pending():
                life.control.take()
            if len(life.chains) == 1 and (straight := life.chains[0].straight) is not None:
                moved[0] = run_alone(straight, life.bell, None)
            life.control.connect_late()
            moved[0] |= life.round()
            if not moved[0]:
                for chain in life.chains:
                    chain.idle()

        died = self._live(seat, go)
        return died or moved[0]

    def kill(self, seat: Seat, lines: int, with_it: Seat | None = None) -> None:
        if seat not in self.left:
            self.left[seat] = lines
            if with_it is not None and with_it != seat:
                self.with_it[seat] = with_it

    def _live(self, seat: Seat, what: Callable[[], None]) -> bool:
        """Runs something in a worker; True when it died of it, and its successor lives."""
        if seat not in self.left:
            what()
            return False
        put_aside: list[Callable[[], None]] = []

        def trace(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "call":
                return trace if any(part in frame.f_code.co_filename for part in TRACED) else None
            if event == "line" and not put_aside:
                self.left[seat] -= 1
                if self.left[seat] <= 0:
                    put_aside.append(self._put_aside(seat))
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            what()
        finally:
            sys.settrace(before)
        if put_aside:
            self._die(seat, put_aside[0])
        return bool(put_aside)

    def _die(self, seat: Seat, bring_back: Callable[[], None]) -> None:
        dead = [seat]
        if (other := self.with_it.pop(seat, None)) in self.lives:
            dead.append(other)
        for one in dead:
            self.left.pop(one, None)
            self.kills += 1
            self.lives.pop(one).close()
        bring_back()
        for one in dead:
            self.workers[one].bury()
            self.memory.let_go(one, returns=True)
        for one in dead:
            self._start(one)

    def _put_aside(self, seat: Seat) -> Callable[[], None]:
        """All that this worker can change for others; gives what puts it back."""
        fds = [self.workers[seat].fd]
        fds += [fd for live in self.memory.pools for fd in (live.data, live.table)]
        fds += [ring.fd for link, ring in self.memory.rings.items() if seat in self.wiring.ends(link)]
        kept = [(fd, os.pread(fd, os.fstat(fd).st_size, 0)) for fd in fds]
        files = {path: path.read_bytes() for path in self.folder.glob("*.jsonl")}
        wires = {link: (list(wire.entries), list(wire.said)) for link, wire in self.wires.items()}
        problems = list(self.problems)

        def bring_back() -> None:
            for fd, data in kept:
                os.pwrite(fd, data, 0)
            for path in self.folder.glob("*.jsonl"):
                path.write_bytes(files.get(path, b""))
            for link, (entries, said) in wires.items():
                self.wires[link].entries[:], self.wires[link].said[:] = entries, said
            self.problems[:] = problems

        return bring_back

    # ---- what is asked of it

    def finish(self, rounds: int = 4000) -> None:
        """Everybody goes on until all have ended. Raises AssertionError when nobody can any more, or it takes too long."""
        idle = 0
        for _ in range(rounds):
            moved = [self.step(seat) for seat in self.seats]
            if all(chain.finished() for life in self.lives.values() for chain in life.chains) and not any(moved):
                return
            idle = 0 if any(moved) else idle + 1
            assert idle < 20, f"nobody moves any more: {self.state()}"
        raise AssertionError(f"not over after {rounds} rounds: {self.state()}")

    def state(self) -> str:
        parts = []
        for seat, life in self.lives.items():
            for runner in life.chains:
                queues = {edge.edge.id: (edge.next_turn, len(edge.queue), len(edge.early), edge.ended) for edge in runner.inbound}
                outs = {edge.edge.id: (edge.turn, [len(one.unacked) for one in edge.links], edge.recovering) for edge in runner.outbound}
                parts.append(
                    f"{seat.name} chain {runner.chain.id}: in {queues} out {outs} ended {runner.ended} end_sent {runner.end_sent} "
                    f"ready {runner.ready()} pools {runner.pools.ready()} settling {len(runner.settling)}"
                )
        return "\n".join(parts)

    def check_ledger(self) -> None:
        """The ledger's law on every edge and stream of every worker."""
        for seat, worker in self.workers.items():
            counters = worker.block.snapshot(patience_s=0.0)
            assert worker.block.words[0] % 2 == 0, f"{seat.name} left its block open"
            for key in counters:
                prefix, _, name = key.rpartition(".")
                if name == "in_flight":
                    balance = {one: value for one, value in counters.items() if one.startswith(f"{prefix}.") and value}
                    assert conserved(counters, prefix), f"{seat.name}: {balance}"
                    assert counters[key] >= 0, f"{seat.name}: {balance}"

    def results(self, output: str) -> list[tuple[int, int]]:
        """(seq, x) of every row of an output, as they stand in its file."""
        rows = [json.loads(line) for line in (self.folder / f"{output}.jsonl").read_text().splitlines()]
        return [(row["seq"], round(row["points"][0]["point"][0])) for row in rows]

    def counters(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for worker in self.workers.values():
            for key, value in worker.block.snapshot(patience_s=0.0).items():
                total[key] = total.get(key, 0) + value
        return total

    def close(self) -> None:
        for life in self.lives.values():
            life.close()
        for worker in self.workers.values():
            worker.close()
        self.memory.close()
