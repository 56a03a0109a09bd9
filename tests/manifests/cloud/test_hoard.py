"""Peers whose messages never end."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import zmq

from manifests.cloud.service import Cloud
from manifests.sync.channel import hoard
from manifests.sync.channel.hoard import MOST, STEP, Hoard, resident
from manifests.sync.channel.messages import Ack, Heartbeat

from .fleet import wait_for
from .test_channel import hello, let_in, raw


def test_who_brought_much_while_the_process_grew_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    size = [1 << 30]
    monkeypatch.setattr(hoard, "resident", lambda: size[0])
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        ends = []
        for _ in range(2):
            one = opened.enter_context(socket.create_connection(listener.getsockname()))
            ends.append((one, opened.enter_context(listener.accept()[0])))
        kept = Hoard(listener.getsockname()[1])

        def bring(number: int, count: int) -> int:
            there, here = ends[number]
            for _ in range(count >> 16):
                there.sendall(bytes(1 << 16))
                here.recv(1 << 16, socket.MSG_WAITALL)
            return here.fileno()

        greedy, _ = bring(0, MOST + (1 << 16)), bring(1, MOST // 2)
        size[0] += STEP - 1
        assert kept.greedy() == []
        size[0] += 1
        assert kept.greedy() == [greedy]
        assert kept.greedy() == [], "it has not grown since"
        size[0] += STEP
        bring(1, MOST - (1 << 16))
        assert kept.greedy() == [], "nobody brought more than that in this step"
        size[0] -= 3 * STEP
        assert kept.greedy() == []
        greedy, _ = bring(1, MOST + (1 << 16)), bring(0, 1 << 16)
        size[0] += STEP
        assert kept.greedy() == [greedy], "what was given back may not be taken again"


def test_a_connection_that_fills_the_memory_ends_and_no_other(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    evil, good = let_in(cloud, "evil"), let_in(cloud, "good")
    with raw(cloud, evil) as one, raw(cloud, good) as two:
        for peer in (one, two):
            peer.ask(hello())
            peer.hear()
        monitor = one.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        size = [resident()]
        monkeypatch.setattr(hoard, "MOST", 500_000)
        monkeypatch.setattr(hoard, "resident", lambda: size[0])
        one.socket.send_multipart([bytes(250_000)] * 4)
        wait_for(lambda: cloud.gateway.counts.refused.get("frames"), "it has come")
        size[0] += 2 * STEP
        assert monitor.poll(20_000), "the connection has not ended"
        one.socket.disable_monitor()
        assert two.ask(Heartbeat(revision=0, reported="0" * 64)) == Ack(shadow=True)
    assert cloud.gateway.counts.refused["hoard"] == 1
