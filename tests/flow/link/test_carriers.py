"""One suite for every carrier of the link contract."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from flow.link.contract import Receiver, Sender
from flow.link.local import LocalReceiver, LocalSender
from flow.link.zeromq import ZmqReceiver, ZmqSender

Open = Callable[[str], tuple[Any, Any]]


@pytest.fixture(params=["local", "zmq"])
def open_link(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ends: list[Sender | Receiver] = []

    def make(name: str) -> tuple[Sender, Receiver]:
        if request.param == "local":
            pair: tuple[Sender, Receiver] = LocalSender(str(tmp_path / name)), LocalReceiver(str(tmp_path / name))
        else:
            address = f"ipc://{tmp_path}/{name}"
            receiver = ZmqReceiver(context, address, 1 << 16)
            pair = ZmqSender(context, address), receiver
        ends.extend(pair)
        pair[1].acknowledge(0, 0)
        wait_for(pair[0])
        pair[0].poll()
        return pair

    yield make
    for end in ends:
        end.close()
    context.destroy(linger=0)


def wait_for(end: Sender | Receiver) -> None:
    poller = zmq.Poller()
    poller.register(end.waitable, zmq.POLLIN)
    assert poller.poll(5000), "the doorbell did not ring"


def next_entry(receiver: Receiver) -> tuple[int, bytes]:
    for _ in range(500):
        message = receiver.receive()
        if message is not None:
            return message[0], bytes(message[1])
        time.sleep(0.01)
    raise AssertionError("nothing came")


def test_entries_arrive_whole_and_in_order(open_link: Open) -> None:
    sender, receiver = open_link("a")
    sent = [(index, bytes([index % 256]) * (index * 37 % 5000)) for index in range(100)]
    for index, data in sent:
        sender.send(index, data)
    assert [next_entry(receiver) for _ in sent] == sent
    assert receiver.receive() is None


def test_the_doorbell_rings_for_entries_and_for_acknowledgements(open_link: Open) -> None:
    sender, receiver = open_link("a")
    sender.send(0, b"frame")
    wait_for(receiver)
    assert next_entry(receiver) == (0, b"frame")
    receiver.acknowledge(1, 1)
    wait_for(sender)
    assert sender.poll()
    assert (sender.durable, sender.done) == (1, 1)


def test_done_follows_what_the_receiver_says_and_never_goes_back(open_link: Open) -> None:
    sender, receiver = open_link("a")
    for index in range(4):
        sender.send(index, b"x")
        next_entry(receiver)
    receiver.acknowledge(4, 2)
    receiver.acknowledge(4, 1)
    wait_for(sender)
    time.sleep(0.05)
    sender.poll()
    assert (sender.durable, sender.done) == (4, 2)


def test_two_links_do_not_mix(open_link: Open) -> None:
    first, one = open_link("a")
    second, two = open_link("b")
    first.send(0, b"first")
    second.send(0, b"second")
    assert next_entry(two) == (0, b"second")
    assert next_entry(one) == (0, b"first")
