"""The ledger: stable snapshots, latencies, state that outlives its writer."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.ledger import STATE_BYTES, Block, Layout, conserved, latency_bucket, make_block, quantile_ms


def block(keys: list[str], states: int = 0) -> Block:
    layout = Layout(keys, states)
    return Block(make_block(layout, "test"), layout)


def test_counts_and_status() -> None:
    counts = block(["edge:0.in", "edge:0.out"])
    counts.add("edge:0.in", 3)
    counts.set("edge:0.out", 2)
    counts.enter(4, 1, 99, 123)
    assert counts.snapshot() == {"edge:0.in": 3, "edge:0.out": 2}
    assert (counts.status()["node"], counts.status()["stream"], counts.status()["seq"]) == (4, 1, 99)
    counts.leave()
    assert counts.status()["node"] == -1


def test_a_snapshot_is_never_taken_within_a_change() -> None:
    """A writer moves frames between counters in many small steps; their sum holds in every snapshot."""
    counts = block(["e.in", "e.out", "e.in_flight", "e.dropped:latest"])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            counts.begin()
            counts.add("e.in")
            counts.add("e.in_flight")
            counts.end()
            counts.begin()
            counts.add("e.in_flight", -1)
            counts.add("e.out" if counts.get("e.in") % 3 else "e.dropped:latest")
            counts.end()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(conserved(counts.snapshot(), "e") for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert counts.get("e.in") > 0


def test_a_writer_killed_within_a_change_does_not_stop_readers_or_its_successor() -> None:
    layout = Layout(["a"])
    fd = make_block(layout, "test")
    code = (
        "import os, sys; from flow.ledger import Block, Layout\n"
        "b = Block(int(sys.argv[1]), Layout(['a'])); b.begin(); b.add('a'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(fd)], pass_fds=[fd], check=False)
    reader, successor = Block(fd, layout), Block(fd, layout)
    assert reader.snapshot(patience_s=0.01) == {"a": 1}
    with successor.change():  # a part of the one that is open still: nobody takes what stands there for stable
        assert reader.words[0] % 2
    assert reader.words[0] % 2
    successor.mend()
    assert reader.words[0] % 2 == 0
    assert reader.snapshot() == {"a": 1}
    os.close(fd)


@pytest.mark.parametrize("written", range(6))
def test_what_changes_together_changes_whole_or_not_at_all(written: int) -> None:
    """A writer that dies after so many words of a change: its successor finds all of it once it was decided, else nothing."""

    class Dying:
        def __init__(self, words: memoryview, left: int) -> None:
            self.words, self.left = words, left

        def __getitem__(self, place: int) -> int:
            return self.words[place]

        def __setitem__(self, place: int, value: int) -> None:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.words[place] = value

    layout = Layout(["a", "b"])
    fd = make_block(layout, "test")
    writer = Block(fd, layout)
    writer._journal = Dying(writer._journal, written)
    with contextlib.suppress(KeyboardInterrupt), writer.together():
        writer.set("a", 1)
        writer.set("b", 2)
    assert Block(fd, layout).snapshot() == ({"a": 1, "b": 2} if written >= 5 else {"a": 0, "b": 0})
    os.close(fd)


@given(st.lists(st.integers(1_000, 10**10), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_are_right_to_a_tenth(latencies: list[int], quantile: float) -> None:
    buckets = [0] * 208
    for latency in latencies:
        buckets[latency_bucket(latency)] += 1
    ordered = sorted(latencies)
    exact = ordered[math.ceil(quantile * len(ordered)) - 1] / 1e6
    assert quantile_ms(buckets, quantile) == pytest.approx(exact, rel=0.1)


def test_no_samples_no_quantile() -> None:
    assert quantile_ms([0] * 208, 0.5) is None


def test_the_newest_whole_state_survives() -> None:
    layout = Layout([], states=2)
    fd = make_block(layout, "test")
    writer = Block(fd, layout)
    assert writer.load_state(0) is None
    for turn in range(5):
        assert writer.save_state(0, turn, f"state {turn}".encode())
    assert writer.save_state(1, 7, b"other chain")
    successor = Block(fd, layout)
    assert successor.load_state(0, last=3) == (3, b"state 3")
    assert successor.load_state(0) == (4, b"state 4")
    assert successor.load_state(1) == (7, b"other chain")
    assert successor.save_state(0, 5, b"state 5")
    assert Block(fd, layout).load_state(0) == (5, b"state 5")
    assert not writer.save_state(0, 6, bytes(STATE_BYTES))
    os.close(fd)


@given(st.integers(0, 45))
def test_a_torn_state_is_not_taken(cut: int) -> None:
    """A writer that dies while it saves leaves the state before, whichever byte is not what it should be."""
    layout = Layout([], states=1)
    fd = make_block(layout, "test")
    writer = Block(fd, layout)
    writer.save_state(0, 1, b"whole state number one")
    writer.save_state(0, 2, b"whole state number two")
    newest = layout.state_start + STATE_BYTES * writer._newest(0)[0]
    before = os.pread(fd, 1, newest + cut)
    os.pwrite(fd, bytes([before[0] ^ 0x55]), newest + cut)
    assert Block(fd, layout).load_state(0) == (1, b"whole state number one")
    os.close(fd)
