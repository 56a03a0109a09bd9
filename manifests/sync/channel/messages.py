"""The messages: strict JSON of at most 256 KiB, each with an envelope.

Those that must not be lost carry a number: `seq` counts what a device's outbox (`session`) ever held, `ack` says up to which number the
cloud has it. The cloud takes a message when it has the one before it and not yet this one, so that each counts once however often and
however late it arrives, and one number a device is all that must be remembered. Everything else is number 0 and is said again anyway.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from manifests.bundle import canonical
from manifests.schema.common import Strict
from manifests.sync.desired import Digest, Revision
from manifests.sync.reported import Reported, Transition
from manifests.wording import expectation

MAX_BYTES = 256 * 1024
MAX_INLINE = 64 * 1024
"""Desired documents of at most this size travel in the message; longer ones are fetched over HTTP."""

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
NOBODY = "0" * 32


class WireError(ValueError):
    """Bytes that are no message: what was expected, what came."""


class Offer(Strict):
    """The newest desired state: its revision, the digest of its signed form, and where that is, or that itself."""

    revision: Revision
    digest: Digest
    url: Annotated[str, Field(max_length=512)]
    """Path below the cloud's HTTP address."""
    document: Annotated[str, Field(max_length=MAX_INLINE)] | None = None


class Enrol(Strict):
    """A key that nobody knows asks to be let in."""

    type: Literal["enrol"] = "enrol"
    token: Annotated[str, Field(min_length=16, max_length=128)]
    about: Annotated[dict[str, Any], Field(max_length=64)] = Field(default={})


class Enrolled(Strict):
    """How it stands with this key."""

    type: Literal["enrolled"] = "enrolled"
    state: Literal["pending", "approved"]
    name: Annotated[str, Field(max_length=64)]


class Hello(Strict):
    """The first message of a connection. `first` is the number that the next report of this outbox will carry."""

    type: Literal["hello"] = "hello"
    boot: Hex
    revision: Revision
    """The newest desired revision that the device holds."""
    reported: Digest
    first: Annotated[int, Field(ge=1, lt=1 << 53)] = 1


class Welcome(Strict):
    """The answer to a hello: what is wanted, and a token for HTTP."""

    type: Literal["welcome"] = "welcome"
    name: Annotated[str, Field(max_length=64)]
    desired: Offer | None = None
    token: Annotated[str, Field(max_length=256)]
    token_expires: AwareDatetime


class Wanted(Strict):
    """There is a newer desired state."""

    type: Literal["wanted"] = "wanted"
    desired: Offer


class Heartbeat(Strict):
    """Still here."""

    type: Literal["heartbeat"] = "heartbeat"
    revision: Revision
    reported: Digest


class Report(Strict):
    """A transition. Numbered. `previous` is the number before it: an outbox that had to give up rows leaves gaps."""

    type: Literal["report"] = "report"
    previous: Revision
    transition: Transition


class Shadow(Strict):
    """All that the device says of itself."""

    type: Literal["shadow"] = "shadow"
    reported: Reported


class Ack(Strict):
    """What has come is safe. `shadow`: the digest was an unknown one, send all."""

    type: Literal["ack"] = "ack"
    shadow: bool = False


class Refused(Strict):
    """No, why, and when to ask again. `hello`: this connection is unknown, begin again."""

    type: Literal["refused"] = "refused"
    reason: Annotated[str, Field(max_length=1024)]
    retry_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    hello: bool = False


FromDevice = Enrol | Hello | Heartbeat | Report | Shadow
FromCloud = Enrolled | Welcome | Wanted | Ack | Refused
Body = FromDevice | FromCloud


class Envelope(Strict):
    """One message. `session` names the device's outbox; the cloud repeats it."""

    v: Literal[1] = 1
    msg_id: Hex
    session: Hex = NOBODY
    seq: Revision = 0
    ack: Revision = 0
    body: Annotated[Body, Field(discriminator="type")]


def encode(body: Body, *, session: str = NOBODY, seq: int = 0, ack: int = 0) -> bytes:
    """The bytes of a message. Raises WireError where they are too many."""
    envelope = Envelope(msg_id=secrets.token_hex(16), session=session, seq=seq, ack=ack, body=body)
    data = envelope.model_dump_json(exclude_none=True).encode()
    if len(data) > MAX_BYTES:
        raise WireError(f"{body.type}: expected a message of at most {MAX_BYTES} bytes, got {len(data)}")
    return data


def decode(data: bytes) -> Envelope:
    """Reads a message from an untrusted peer. Raises WireError."""
    if len(data) > MAX_BYTES:
        raise WireError(f"expected a message of at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        envelope = Envelope.model_validate_json(data, strict=True)
        _check(envelope.body)
        return envelope
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "message"
        raise WireError(f"{place[:128]}: expected {expectation(first)}"[:512]) from None


def _check(body: Body) -> None:
    """What may hold anything must be what JSON can say again. Raises WireError."""
    match body:
        case Enrol(about=said) | Report(transition=Transition(evidence=said)) | Shadow(reported=Reported(about=said)):
            try:
                canonical.encode(said)
            except canonical.BundleError as error:
                raise WireError(f"{body.type}: {error}"[:512]) from None
