"""One suite for every carrier of the link contract."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.link.bell import Bell, LiveBell, Rest
from flow.link.contract import Receiver, Sender
from flow.link.local import LocalLink
from flow.link.ring import RingReceiver, RingSender, RingShape, allocate, unfinished
from flow.link.zeromq import ZmqReceiver, ZmqSender

Open = Callable[[str], tuple[Any, Any]]


class Ring:
    """A ring with the bells of both ends, whose ends may be opened again and again."""

    def __init__(self, entries: int = 128, entry_bytes: int = 5000) -> None:
        self.shape = RingShape(entries, entry_bytes)
        self.fd = allocate(self.shape, "test")
        self.producer, self.consumer = LiveBell("producer"), LiveBell("consumer")

    def sender(self) -> RingSender:
        return RingSender(self.shape, os.dup(self.fd), self._other(self.consumer))

    def receiver(self) -> RingReceiver:
        return RingReceiver(self.shape, os.dup(self.fd), self._other(self.producer))

    @staticmethod
    def _other(bell: LiveBell) -> Bell:
        return Bell(os.dup(bell.bell), os.dup(bell.word_read_only), own=False)

    def own(self, bell: LiveBell) -> Bell:
        return Bell(os.dup(bell.bell), os.dup(bell.word), own=True)

    def close(self) -> None:
        os.close(self.fd)
        self.producer.close()
        self.consumer.close()


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring()
    yield made
    made.close()


@pytest.fixture(params=["local", "ring", "zmq"])
def open_link(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ends: list[Any] = []
    rings: list[Ring] = []

    def make(name: str) -> tuple[Sender, Receiver]:
        pair: tuple[Sender, Receiver]
        match request.param:
            case "local":
                pair = LocalLink().ends()
            case "ring":
                rings.append(Ring())
                pair = rings[-1].sender(), rings[-1].receiver()
            case _:
                address = f"ipc://{tmp_path}/{name}"
                receiver = ZmqReceiver(context, address, 1 << 16)
                pair = ZmqSender(context, address), receiver
        ends.extend(pair)
        if pair[0].unfinished() is None:
            pair[1].acknowledge(0, 0)
            wait_for(pair[0])
            pair[0].poll()
        return pair

    yield make
    for end in (*ends, *rings):
        end.close()
    context.destroy(linger=0)


def wait_for(end: Sender | Receiver) -> None:
    if end.waitable is None:
        assert end.stirs()
        return
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


def test_one_can_wait_for_entries_and_for_acknowledgements(open_link: Open) -> None:
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


@settings(deadline=None)
@given(st.lists(st.sampled_from(["send", "take", "finish", "kill producer", "kill consumer"]), max_size=200))
def test_a_ring_loses_nothing_whoever_dies(steps: list[str]) -> None:
    """Either end may be replaced at any time: what was published and not finished with comes again, in order, and nothing else."""
    ring = Ring(entries=3, entry_bytes=8)
    try:
        sender, receiver = ring.sender(), ring.receiver()
        sent, taken, finished = 0, 0, 0
        for step in steps:
            match step:
                case "send" if sent - finished < 3:
                    sender.poll()
                    sender.send(sent, sent.to_bytes(8, "little"))
                    sent += 1
                case "take":
                    message = receiver.receive()
                    assert (message is None) == (taken == sent)
                    if message is not None:
                        assert message == (taken, taken.to_bytes(8, "little"))
                        taken += 1
                case "finish" if finished < taken:
                    finished += 1
                    receiver.acknowledge(taken, finished)
                case "kill producer":
                    sender.close()
                    sender = ring.sender()
                    assert (sender.durable, sender.done) == (sent, finished)
                    assert [index for index, _ in sender.unfinished()] == list(range(finished, sent))
                case "kill consumer":
                    receiver.close()
                    receiver = ring.receiver()
                    taken = finished
            assert [int.from_bytes(data, "little") for data in unfinished(ring.shape, ring.fd)] == list(range(finished, sent))
        sender.close()
        receiver.close()
    finally:
        ring.close()


def test_a_ring_refuses_what_it_has_no_room_for() -> None:
    ring = Ring(entries=2, entry_bytes=8)
    sender = ring.sender()
    with pytest.raises(RuntimeError, match="at most 8 bytes, got 9"):
        sender.send(0, bytes(9))
    sender.send(0, b"x")
    sender.send(1, b"x")
    with pytest.raises(RuntimeError, match="at most 2 entries under way"):
        sender.send(2, b"x")
    sender.close()
    ring.close()


def test_the_bell_rings_only_for_what_its_owner_sleeps_for(ring: Ring) -> None:
    sender, receiver = ring.sender(), ring.receiver()
    producer, consumer = ring.own(ring.producer), ring.own(ring.consumer)

    def rung(bell: Bell) -> bool:
        try:
            os.eventfd_read(bell.fd)
        except BlockingIOError:
            return False
        return True

    for until, by_entries in ((Rest.AWAKE, False), (Rest.FOR_ENTRIES, True), (Rest.FOR_ROOM, True)):
        consumer.rest(until)
        sender.send(sender.durable, b"frame")
        assert rung(consumer) == by_entries
    for until, by_room in ((Rest.AWAKE, False), (Rest.FOR_ENTRIES, False), (Rest.FOR_ROOM, True)):
        producer.rest(until)
        index, _ = next_entry(receiver)
        receiver.acknowledge(index + 1, index + 1)
        assert rung(producer) == by_room
    for end in (sender, receiver, producer, consumer):
        end.close()
