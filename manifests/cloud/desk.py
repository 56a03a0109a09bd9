"""What the gateway asks, answered from the database: what came together is stored in one transaction, and only then acknowledged."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from manifests.cloud import enrolment
from manifests.cloud.database import Database, upsert
from manifests.cloud.errors import Refusal
from manifests.cloud.inventory import chunks, note_seen, note_shadows, note_transitions, prune
from manifests.cloud.tables import desired, devices, inboxes, shadows
from manifests.sync.channel.gateway import Answer, Incoming, Standing
from manifests.sync.channel.messages import (
    MAX_INLINE,
    Ack,
    Enrol,
    Enrolled,
    Envelope,
    FromCloud,
    Hello,
    Offer,
    Refused,
    Report,
    Shadow,
    Wanted,
    Welcome,
)
from manifests.sync.reported import Transition

log = logging.getLogger(__name__)

TOKEN_S = 600.0
SEEN_S = 2.0
"""How often it is stored who was heard of."""

PRUNE_EVERY = 200
"""With every so many of a device's reports its history is cut to what is kept."""

Heard = Callable[[Connection, Sequence[tuple[str, Transition]]], None]
"""Who else learns of transitions, in the same transaction."""


class Desk:
    """Answers devices. `standing` and inboxes live in memory; `refresh` must be called when somebody else changed the table of devices."""

    def __init__(self, database: Database, secret: bytes, heard: Heard | None = None) -> None:
        self.database, self._secret, self._heard = database, secret, heard
        self._lock = threading.Lock()
        self._standing: dict[str, Standing] = {}
        self._names: dict[str, str] = {}
        self._inboxes: dict[str, tuple[str, int]] = {}
        self._digests: dict[str, str] = {}
        self._offers: dict[str, Offer | None] = {}
        self._seen: dict[str, float] = {}
        self._flush_at = 0.0
        self._open_until = 0.0
        self.refresh()

    def refresh(self, ids: Sequence[str] | None = None) -> None:
        """Reads who of these (or of all) is let in, and whether more may enrol. From any thread."""
        query = select(devices.c.id, devices.c.name, devices.c.state)
        with self.database.read() as connection:
            parts = [query] if ids is None else [query.where(devices.c.id.in_(part)) for part in chunks(ids)]
            rows = [row for part in parts for row in connection.execute(part)]
            open_until = enrolment.open_until(connection)
        with self._lock:
            self._standing.update((row.id, row.state) for row in rows)
            self._names.update((row.id, row.name) for row in rows)
            self._open_until = open_until

    def changed(self, ids: Sequence[str]) -> None:
        """These have a newer desired state, or stand differently."""
        for device in ids:
            self._offers.pop(device, None)

    def standing(self, device: str) -> Standing:
        return self._standing.get(device, "unknown")

    def enrolling(self) -> bool:
        return self._open_until > time.time()

    def enrol(self, device: str, envelope: Envelope) -> Answer:
        assert isinstance(envelope.body, Enrol)
        try:
            with self.database.write() as connection:
                name, state = enrolment.spend(connection, device, envelope.body.token, envelope.body.about)
        except Refusal as refusal:
            return Answer((Refused(reason=refusal.reason, retry_s=600),), envelope.session)
        self.refresh([device])
        if state == "revoked":
            return Answer((Refused(reason="this key was revoked", retry_s=3600),), envelope.session)
        return Answer((Enrolled(state="approved" if state == "approved" else "pending", name=name),), envelope.session)

    def handle(self, batch: Sequence[Incoming]) -> list[Answer]:
        """Raises whatever the database raises; then nothing of the batch counts."""
        now = time.time()
        names = [incoming.device for incoming in batch]
        self._load(names)
        inboxes_now: dict[str, tuple[str, int]] = {}
        steps: list[tuple[str, Transition]] = []
        states: dict[str, Shadow] = {}
        for incoming in batch:
            device, envelope = incoming.device, incoming.envelope
            session, last = inboxes_now.get(device) or self._inboxes.get(device, ("", 0))
            match envelope.body:
                case Hello(first=first):
                    inboxes_now[device] = (envelope.session, max(last, first - 1) if session == envelope.session else first - 1)
                case Report(previous=previous, transition=step) if session == envelope.session and previous <= last < envelope.seq:
                    inboxes_now[device] = (session, envelope.seq)
                    steps.append((device, step))
                case Shadow() as shadow:
                    states[device] = shadow
        changed = {device: inbox for device, inbox in inboxes_now.items() if inbox != self._inboxes.get(device)}
        if changed or steps or states:
            with self.database.write() as connection:
                upsert(connection, inboxes, [{"device": d, "session": s, "last": n} for d, (s, n) in changed.items()])
                note_transitions(connection, steps, now)
                for device in {each.device for each in batch if each.envelope.seq and each.envelope.seq % PRUNE_EVERY == 0}:
                    prune(connection, device)
                note_shadows(connection, {device: shadow.reported for device, shadow in states.items()}, now)
                if steps and self._heard is not None:
                    self._heard(connection, steps)
        self._inboxes.update(changed)
        self._digests.update((device, shadow.reported.digest) for device, shadow in states.items())
        self._seen.update(dict.fromkeys(names, now))
        return [self._answer(incoming) for incoming in batch]

    def _answer(self, incoming: Incoming) -> Answer:
        device, envelope = incoming.device, incoming.envelope
        session, last = self._inboxes.get(device, ("", 0))
        ack = last if session == envelope.session else 0
        bodies: list[FromCloud] = []
        offer = self._offers.get(device)
        match envelope.body:
            case Hello(revision=revision, reported=digest):
                newer = offer if offer and offer.revision > revision else None
                token, expires = self.http_token(device)
                bodies.append(Welcome(name=self._names.get(device, ""), desired=newer, token=token, token_expires=expires))
            case envelope_body if envelope_body.type == "heartbeat":
                digest = envelope_body.reported
                if offer and offer.revision > envelope_body.revision:
                    bodies.append(Wanted(desired=offer))
            case Report():
                return Answer((Ack(),), envelope.session, ack)
            case _:
                return Answer()
        if digest != self._digests.get(device):
            bodies.append(Ack(shadow=True))
        return Answer(tuple(bodies), envelope.session, ack)

    def wanted(self, ids: Sequence[str]) -> dict[str, FromCloud]:
        self._load(ids)
        return {device: Wanted(desired=offer) for device in ids if (offer := self._offers.get(device)) is not None}

    def tick(self, connected: int) -> None:
        """Stores who was heard of, many at once."""
        if not self._seen or time.monotonic() < self._flush_at:
            return
        self._flush_at = time.monotonic() + SEEN_S
        heard, self._seen = self._seen, {}
        try:
            with self.database.write() as connection:
                note_seen(connection, heard)
        except Exception:
            log.exception("it could not be stored that %d devices were heard of", len(heard))

    def _load(self, ids: Sequence[str]) -> None:
        """Reads what is not in memory of these devices."""
        strangers = {device for device in ids if device not in self._inboxes or device not in self._offers}
        if not strangers:
            return
        with self.database.read() as connection:
            for part in chunks(sorted(strangers)):
                for row in connection.execute(select(inboxes).where(inboxes.c.device.in_(part))):
                    self._inboxes[row.device] = (row.session, row.last)
                for row in connection.execute(select(shadows.c.device, shadows.c.digest).where(shadows.c.device.in_(part))):
                    self._digests.setdefault(row.device, row.digest)
                query = select(desired.c.device, desired.c.revision, desired.c.digest, desired.c.signed)
                newest = query.join(devices, (devices.c.id == desired.c.device) & (devices.c.revision == desired.c.revision))
                offers: dict[str, Offer | None] = dict.fromkeys(part)
                for row in connection.execute(newest.where(desired.c.device.in_(part))):
                    inline = row.signed if len(row.signed) <= MAX_INLINE else None
                    url = f"/v1/device/desired/{row.revision}"
                    offers[row.device] = Offer(revision=row.revision, digest=row.digest, url=url, document=inline)
                self._offers.update(offers)

    def http_token(self, device: str) -> tuple[str, datetime]:
        """A token with which this device may read its own desired state and what that needs, for ten minutes."""
        expires = int(time.time() + TOKEN_S)
        return f"{device}.{expires}.{self._seal(device, expires)}", datetime.fromtimestamp(expires, UTC)

    def bearer(self, token: str) -> str | None:
        """The device that this token was given to, where it still holds and the device is still let in."""
        device, expires = self._unsealed(token)
        return device if expires >= time.time() and self.standing(device) == "approved" else None

    def device_of(self, token: str) -> str | None:
        """The device that this token was given to, though it may hold no longer."""
        return self._unsealed(token)[0] or None

    def _unsealed(self, token: str) -> tuple[str, int]:
        """Device and time; nobody where this is no token of ours."""
        device, _, rest = token.partition(".")
        expires, _, seal = rest.partition(".")
        if not (expires.isdecimal() and len(expires) < 12 and seal.isascii()):
            return "", 0
        return (device, int(expires)) if hmac.compare_digest(seal, self._seal(device, int(expires))) else ("", 0)

    def _seal(self, device: str, expires: int) -> str:
        return hmac.new(self._secret, f"{device}.{expires}".encode(), hashlib.sha256).hexdigest()
