"""What a device says to the cloud and when: no sockets, no clock, no threads.

The caller tells what happened (`connected`, `received`) and when it is, and sends what `due` gives. Nothing here is lost with the process:
reports wait in the outbox, and everything else is said again.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from manifests.sync.channel.messages import (
    NOBODY,
    Ack,
    Body,
    Enrol,
    Enrolled,
    Envelope,
    Heartbeat,
    Hello,
    Offer,
    Refused,
    Report,
    Shadow,
    Wanted,
    Welcome,
    WireError,
    decode,
    encode,
)
from manifests.sync.reported import Reported, Transition


class Outbox(Protocol):
    """Transitions that the cloud has not got yet, in the device's database: they survive a power cut."""

    @property
    def session(self) -> str:
        """32 hexadecimal digits, drawn when the database was made: numbers count within it."""

    def first(self) -> int:
        """The number of the oldest that waits; where none waits, the one that the next will get, or less. Numbers rise, from 1."""

    def after(self, number: int, limit: int) -> Sequence[tuple[int, Transition]]:
        """The next ones behind this number, in order."""

    def acknowledge(self, number: int) -> None:
        """All up to this number are safe in the cloud."""


class Self(Protocol):
    """What the session must know of the device."""

    def revision(self) -> int:
        """The newest desired revision that it holds, whether or not it is done."""

    def reported(self) -> Reported:
        """How it is now."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `jitter` is the share by which intervals vary, so that a fleet does not speak with one voice."""

    heartbeat: float = 60.0
    jitter: float = 0.2
    first_retry: float = 2.0
    last_retry: float = 60.0
    unanswered: float = 10.0
    """A report is sent again after this long without an acknowledgement."""
    shadow: float = 1.0
    """Between two shadows at least."""


WINDOW = 16
"""Reports under way at once."""


class Session:
    """One device's end of the conversation. `token` lets an unknown key ask to be let in."""

    def __init__(
        self, outbox: Outbox, device: Self, *, token: str | None = None, about: dict[str, Any] | None = None, times: Times | None = None
    ) -> None:
        self.times = times or Times()
        self.http_token = ""
        self.http_token_expires: datetime | None = None
        self.name = ""
        self.refusal = ""
        self._outbox, self._device, self._token, self._about = outbox, device, token, about or {}
        self._boot = secrets.token_hex(16)
        self._random = random.Random(self._boot)
        self._connected = self._greeted = False
        self._speak_at = 0.0
        self._retry = self.times.first_retry
        self._sent = self._acknowledged = 0
        self._repeat_at = 0.0
        self._shadow_asked = False
        self._shadow_sent = ""
        self._shadow_at = 0.0
        self._offers: list[Offer] = []

    @property
    def greeted(self) -> bool:
        """Whether the cloud has answered on this connection."""
        return self._greeted

    def connected(self, now: float) -> None:
        """The encrypted connection stands."""
        self._connected = True
        self._begin(now)

    def disconnected(self) -> None:
        self._connected = self._greeted = False

    def offers(self) -> list[Offer]:
        """Desired states that the cloud has offered since the last call, those that the device holds left out."""
        offers, self._offers = self._offers, []
        return [offer for offer in offers if offer.revision > self._device.revision()]

    def greet(self, now: float) -> None:
        """Says hello again: for a new HTTP token, or to hear the newest offer once more."""
        if self._greeted:
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._greeted = False
        self._retry = self.times.first_retry
        self._speak_at = now

    def due(self, now: float) -> list[bytes]:
        """The messages to send now."""
        if not self._connected:
            return []
        if not self._greeted:
            if now < self._speak_at:
                return []
            self._speak_at = now + self._vary(self._retry)
            self._retry = min(2 * self._retry, self.times.last_retry)
            return [self._encode(self._greeting())]
        messages = []
        if now >= self._speak_at:
            self._speak_at = now + self._vary(self.times.heartbeat)
            messages.append(self._encode(Heartbeat(revision=self._device.revision(), reported=self._device.reported().digest)))
        return messages + self._reports(now) + self._shadow(now)

    def wait(self, now: float) -> float:
        """Seconds until `due` may give something, if nothing else happens before."""
        if not self._connected:
            return self.times.last_retry
        return max(0.0, min(self._speak_at - now, self.times.shadow if self._greeted else self.times.last_retry))

    def _vary(self, seconds: float) -> float:
        return seconds * (1 + self.times.jitter * (2 * self._random.random() - 1))

    def _greeting(self) -> Body:
        if self._token is not None:
            return Enrol(token=self._token, about=self._about)
        reported = self._device.reported().digest
        return Hello(boot=self._boot, revision=self._device.revision(), reported=reported, first=self._outbox.first())

    def _encode(self, body: Body, seq: int = 0) -> bytes:
        return encode(body, session=self._outbox.session, seq=seq)

    def _reports(self, now: float) -> list[bytes]:
        """What the outbox holds, WINDOW at once, then what comes behind it; all of it again after a silence."""
        if self._sent > self._acknowledged and now >= self._repeat_at:
            self._sent = self._acknowledged
        room = WINDOW if self._sent == self._acknowledged else 0
        waiting = self._outbox.after(self._sent, room) if room > 0 else ()
        messages = []
        for number, transition in waiting:
            messages.append(self._report(number, transition))
            self._sent = number
        if messages:
            self._repeat_at = now + self._vary(self.times.unanswered)
        return messages

    def _report(self, number: int, transition: Transition) -> bytes:
        """One whose evidence is too long for a message goes without it: behind a report that cannot be sent nothing would be heard."""
        try:
            return self._encode(Report(previous=self._sent, transition=transition), number)
        except WireError as error:
            short = transition.model_copy(update={"evidence": {"left_out": str(error)}})
            return self._encode(Report(previous=self._sent, transition=short), number)

    def _shadow(self, now: float) -> list[bytes]:
        if now < self._shadow_at:
            return []
        reported = self._device.reported()
        if reported.digest == self._shadow_sent and not self._shadow_asked:
            return []
        self._shadow_at = now + self.times.shadow
        self._shadow_sent, self._shadow_asked = reported.digest, False
        try:
            return [self._encode(Shadow(reported=reported))]
        except WireError as error:
            short = Reported(revision=reported.revision, reset_epoch=reported.reset_epoch, problems=(str(error),))
            return [self._encode(Shadow(reported=short))]

    def received(self, data: bytes, now: float) -> None:
        """A message of the cloud. One that cannot be read is passed over: the cloud's key is authenticated, its words are still checked."""
        try:
            envelope = decode(data)
        except WireError as error:
            self.refusal = str(error)
            return
        self._acknowledge(envelope)
        match envelope.body:
            case Welcome() as welcome:
                self._welcome(welcome, now)
            case Wanted(desired=offer):
                self._offers.append(offer)
            case Ack(shadow=True):
                self._shadow_asked = True
            case Enrolled(state="approved", name=name) if self._token is not None:
                self.name, self._token = name, None
                self._begin(now)
            case Enrolled(state="pending", name=name):
                self.refusal = f"this device has asked to be let in as {name}: a person must approve it"
            case Refused(reason=reason, retry_s=retry, hello=hello):
                self.refusal = reason
                self._greeted = False
                self._speak_at = now + (0.0 if hello else self._vary(retry))
            case _:
                pass

    def _welcome(self, welcome: Welcome, now: float) -> None:
        self.name, self.refusal = welcome.name, ""
        self.http_token, self.http_token_expires = welcome.token, welcome.token_expires
        if not self._greeted:
            self._greeted = True
            self._speak_at = now + self._vary(self.times.heartbeat)
            self._sent = self._acknowledged = self._outbox.first() - 1
        if welcome.desired is not None:
            self._offers.append(welcome.desired)

    def _acknowledge(self, envelope: Envelope) -> None:
        """Of this outbox, and of what it has sent: a number from elsewhere deletes nothing."""
        if envelope.session == self._outbox.session != NOBODY and self._acknowledged < envelope.ack <= self._sent:
            self._acknowledged = envelope.ack
            self._outbox.acknowledge(envelope.ack)
