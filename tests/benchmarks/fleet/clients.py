"""One process with many devices: each has its own key, connection, session and outbox, and does at once what is wanted."""

from __future__ import annotations

import heapq
import json
import secrets
import select
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from manifests.sync.agent.connection import dealer
from manifests.sync.agent.session import Session
from manifests.sync.channel.curve import KeyPair
from manifests.sync.channel.guard import raise_limit
from manifests.sync.desired import Desired, DesiredBusiness
from manifests.sync.reported import Reported, Transition
from manifests.trust.policy import Held
from manifests.trust.store import TrustStore

EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
LOOK_S = 0.1
"""So long at most nobody looks whether it is to end."""
LAST_WORDS_S = 30.0
"""So long acknowledgements that are on their way are waited for at the end."""
IDLE_S = 2.0
"""So often a device to which nothing has happened looks whether it is time to say something."""


class Device:
    """Its database is memory, its update takes no time."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], plan: dict[str, Any], secret: str, trust: TrustStore) -> None:
        from zmq.utils import z85

        raw = bytes.fromhex(secret)
        self.keys = KeyPair(z85.decode(zmq.curve_public(z85.encode(raw))), raw)
        self.trust = trust
        self.session_name = secrets.token_hex(16)
        self.waiting: list[tuple[int, Transition]] = []
        self.count = 0
        self.applied: list[int] = []
        running = tuple(DesiredBusiness.model_validate(each) for each in plan["running"])
        self.state = Reported(active=running, ram_bytes=1 << 30, disk_bytes=1 << 30)
        self.talk = Session(self, self)
        self.due = 0.0
        self.greetings = 0
        self.bytes = 0
        """Of messages, both ways, before they are encrypted."""
        self.socket = dealer(context, bytes.fromhex(plan["cloud"]), self.keys)
        self.monitor = self.socket.get_monitor_socket(EVENTS)
        self.socket.connect(plan["endpoint"])

    @property
    def session(self) -> str:
        return self.session_name

    def first(self) -> int:
        return self.waiting[0][0] if self.waiting else self.count + 1

    def after(self, number: int, limit: int) -> list[tuple[int, Transition]]:
        return [each for each in self.waiting if each[0] > number][:limit]

    def acknowledge(self, number: int) -> None:
        self.waiting = [each for each in self.waiting if each[0] > number]

    def revision(self) -> int:
        return self.applied[-1] if self.applied else 0

    def reported(self) -> Reported:
        return self.state

    def apply(self, document: bytes, now: datetime) -> None:
        """As a device does: verified, then done, then reported."""
        desired: Desired = self.trust.verify(document, Held(self.keys.name, self.revision()), now)
        self.applied.append(desired.revision)
        for state in ("fetch", "probation"):
            self.report(desired.revision, "working", state)
        self.report(desired.revision, "done", "committed")
        self.state = self.state.model_copy(update={"revision": desired.revision, "active": desired.active})

    def report(self, revision: int, outcome: Any, state: str) -> None:
        self.count += 1
        self.waiting.append((self.count, Transition(revision=revision, outcome=outcome, state=state, at=datetime.now(UTC))))

    def turns(self, now: float) -> int:
        """All there is to do. Sending may take in what the sockets' descriptors would tell of: they are asked once more."""
        passed = self.turn(now)
        while any(socket.getsockopt(zmq.EVENTS) & zmq.POLLIN for socket in (self.socket, self.monitor)):
            passed += self.turn(now)
        return passed

    def turn(self, now: float) -> int:
        """What has come, and what is to be said; the number of messages."""
        passed = 0
        try:
            while True:
                event = parse_monitor_message(self.monitor.recv_multipart(zmq.NOBLOCK))["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self.talk.connected(now)
                    self.greetings += 1
                else:
                    self.talk.disconnected()
                self.due = 0.0
        except zmq.Again:
            pass
        try:
            while True:
                data = self.socket.recv(zmq.NOBLOCK)
                self.talk.received(data, now)
                passed += 1
                self.bytes += len(data)
                self.due = 0.0
        except zmq.Again:
            pass
        for offer in self.talk.offers():
            if offer.document is not None and offer.revision > self.revision():
                self.apply(offer.document.encode(), datetime.now(UTC))
        if now >= self.due:
            for message in self.talk.due(now):
                self.socket.send(message, zmq.NOBLOCK)
                passed += 1
                self.bytes += len(message)
            self.due = now + (min(self.talk.wait(now), 1.0) if passed else IDLE_S)
        return passed


def main() -> None:
    """`clients PLAN`: runs until SIGTERM, then prints what each device has done."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    stopped: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(time.monotonic()))
    raise_limit()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 4 * len(plan["secrets"]) + 16)
    trust = TrustStore(Path(plan["trust"]), Path(plan["root"]).read_bytes())
    devices = [Device(context, plan, secret, trust) for secret in plan["secrets"]]
    messages, timers = 0, [(0.0, place) for place in range(len(devices))]
    epoll, whose = select.epoll(), {}
    for place, device in enumerate(devices):
        for socket in (device.socket, device.monitor):
            number = int(socket.getsockopt(zmq.FD))
            whose[number] = place
            epoll.register(number, select.EPOLLIN)
    while not stopped or (any(device.waiting for device in devices) and time.monotonic() < stopped[0] + LAST_WORDS_S):
        wait = max(0.0, min(LOOK_S, timers[0][0] - time.monotonic()))
        turned = {whose[number] for number, _ in epoll.poll(wait)}
        now = time.monotonic()
        while timers and timers[0][0] <= now:
            due, place = heapq.heappop(timers)
            if due in (devices[place].due, 0.0):  # it has not been put off since
                turned.add(place)
        for place in turned:
            messages += devices[place].turns(now)
            heapq.heappush(timers, (devices[place].due, place))
    sums = {
        "messages": messages,
        "bytes": sum(device.bytes for device in devices),
        "greetings": sum(device.greetings for device in devices),
        "waiting": sum(len(device.waiting) for device in devices),
    }
    print(json.dumps({"applied": {device.keys.name: device.applied for device in devices}, **sums}))
    context.destroy(linger=0)


if __name__ == "__main__":
    main()
