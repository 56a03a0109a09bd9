from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
import zmq

from flow.sinks import zmq as zmq_sink
from flow.sinks.contract import SinkError
from flow.sinks.zmq import ZmqPublisher


def subscribe(address: str, topic: bytes = b"", waiting: int = 1000) -> zmq.Socket:
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVHWM, waiting)
    socket.setsockopt(zmq.RCVTIMEO, 5000)
    socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(address)
    return socket


def until_heard(socket: zmq.Socket, write) -> None:
    """Writes until the subscription has reached the publisher, then reads what came of it."""
    while not socket.poll(20):
        write()
    while socket.poll(50):
        socket.recv_multipart()


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_subscribers_get_topic_id_and_row(tmp_path: Path, plan_of, result, scheme: str) -> None:
    target = f"zmq:ipc://{tmp_path}/results" if scheme == "ipc" else "zmq:tcp://127.0.0.1:*"
    sink = ZmqPublisher(plan_of(target), 25.0)
    assert sink.open(resume=False) == {}
    address = sink._socket.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")
    front, back = subscribe(address, b"pet.pets.front"), subscribe(address, b"pet.pets.back")
    until_heard(front, lambda: sink.write(result(0), None))
    until_heard(back, lambda: sink.write(result(0, stream="back"), None))
    sink.write(result(7), None)
    sink.write(result(8, stream="back"), None)
    topic, identity, row = front.recv_multipart()
    assert (topic, identity, json.loads(row)) == (b"pet.pets.front", b"pet.pets.front/7", result(7).row())
    assert back.recv_multipart()[1] == b"pet.pets.back/8"
    sink.close()
    front.close(0)
    back.close(0)
    assert sink.lagged == 0


def test_what_was_written_before_closing_arrives(tmp_path: Path, plan_of, result) -> None:
    sink = ZmqPublisher(plan_of(f"zmq:ipc://{tmp_path}/results"), 25.0)
    sink.open(resume=False)
    socket = subscribe(f"ipc://{tmp_path}/results")
    until_heard(socket, lambda: sink.write(result(0), None))
    for seq in range(1, 100):
        sink.write(result(seq), None)
    sink.close()
    assert [int(socket.recv_multipart()[1].split(b"/")[1]) for _ in range(99)] == list(range(1, 100))
    socket.close(0)


def test_a_slow_subscriber_loses_and_holds_up_nobody(tmp_path: Path, plan_of, result, monkeypatch) -> None:
    monkeypatch.setattr(zmq_sink, "MAX_WAITING", 5)
    sink = ZmqPublisher(plan_of(f"zmq:ipc://{tmp_path}/results"), 25.0)
    sink.open(resume=False)
    slow, quick = (subscribe(f"ipc://{tmp_path}/results", waiting=1) for _ in range(2))
    for socket in (slow, quick):
        until_heard(socket, lambda: sink.write(result(0), None))
    got: list[int] = []
    sent = threading.Event()

    def read() -> None:
        while not (sent.is_set() and not quick.poll(200)):
            if quick.poll(20):
                got.append(int(quick.recv_multipart()[1].split(b"/")[1]))

    thread = threading.Thread(target=read)
    thread.start()
    big = {"detections": ["x" * 100_000]}
    count = 0
    while sink.lagged == 0 or len(got) < 50:
        count += 1
        sink.write(result(count, payload=big), None)
        threading.Event().wait(0.002)
    sent.set()
    thread.join()
    assert got == list(range(got[0], count + 1))
    sink.close()
    slow.close(0)
    quick.close(0)


def test_a_socket_file_is_private(tmp_path: Path, plan_of) -> None:
    sink = ZmqPublisher(plan_of(f"zmq:ipc://{tmp_path}/results"), 25.0)
    sink.open(resume=False)
    assert stat.S_IMODE((tmp_path / "results").stat().st_mode) == 0o600
    sink.close()


def test_an_address_that_is_taken_is_an_error(plan_of) -> None:
    first = ZmqPublisher(plan_of("zmq:tcp://127.0.0.1:*"), 25.0)
    first.open(resume=False)
    address = first._socket.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")
    with pytest.raises(SinkError, match="address that is free"):
        ZmqPublisher(plan_of(f"zmq:{address}"), 25.0).open(resume=False)
    first.close()


@pytest.mark.parametrize(
    ("target", "says"), [("zmq:tcp://host", "expected zmq:tcp://"), ("zmq:", "no address"), ("zmq:ipc:///none/at/all", "no such folder")]
)
def test_an_address_that_is_none_is_refused(target: str, says: str) -> None:
    with pytest.raises(SinkError, match=says):
        ZmqPublisher.check(target)
