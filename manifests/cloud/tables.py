"""The tables, for SQLite and PostgreSQL alike. Times are UTC seconds since 1970; documents are JSON as text."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)

Serial = BigInteger().with_variant(Integer, "sqlite")
Key = String(64)
"""A device's public key or a sha256, in hexadecimal digits."""

devices = Table(
    "devices",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("cohort", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("about", Text, nullable=False),
    Column("enrolled", Float, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
"""`state`: pending, approved or revoked. `revision`: the newest desired one, 0 where there is none."""

seen = Table(
    "seen",
    metadata,
    Column("device", Key, primary_key=True),
    Column("at", Float, nullable=False),
)
"""When each device was last heard of; written in batches, apart from what is edited."""

inboxes = Table(
    "inboxes",
    metadata,
    Column("device", Key, primary_key=True),
    Column("session", String(32), nullable=False),
    Column("last", BigInteger, nullable=False),
)
"""Up to which number each device's outbox has come in."""

shadows = Table(
    "shadows",
    metadata,
    Column("device", Key, primary_key=True),
    Column("digest", Key, nullable=False),
    Column("reported", Text, nullable=False),
    Column("at", Float, nullable=False),
)

transitions = Table(
    "transitions",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("device", Key, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("state", String(64), nullable=False),
    Column("code", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("received", Float, nullable=False),
    Index("ix_transitions_device_revision", "device", "revision"),
)

desired = Table(
    "desired",
    metadata,
    Column("device", Key, ForeignKey("devices.id"), primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("document", Text, nullable=False),
    Column("signed", Text, nullable=False),
    Column("digest", Key, nullable=False),
    Column("issued", Float, nullable=False),
    Column("by", String(64), nullable=False),
    Column("reason", Text, nullable=False),
)
"""Every desired state there ever was. `signed` is what devices get, `digest` its sha256."""

items = Table(
    "items",
    metadata,
    Column("digest", Key, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(64), nullable=False),
    Column("version", String(72), nullable=False),
    Column("pair", Key, nullable=False, index=True),
    Column("ram_bytes", BigInteger, nullable=False),
    Column("uploaded", Float, nullable=False),
    Column("by", String(64), nullable=False),
    UniqueConstraint("kind", "name", "version", "pair"),
)
"""`pair`: of a golden clip, what it was recorded with; otherwise empty. An item's document is a blob like those that it needs."""

blobs = Table(
    "blobs",
    metadata,
    Column("digest", Key, primary_key=True),
    Column("size", BigInteger, nullable=False),
)

contents = Table(
    "contents",
    metadata,
    Column("item", Key, ForeignKey("items.digest"), primary_key=True),
    Column("blob", Key, ForeignKey("blobs.digest"), primary_key=True),
)
"""Which item needs which blobs; many to many."""

uses = Table(
    "uses",
    metadata,
    Column("business", Key, ForeignKey("items.digest"), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("model", String(64), nullable=False, index=True),
    Column("range", String(64), nullable=False),
)
"""Which version of a business uses which model, in which versions; many to many."""

costs = Table(
    "costs",
    metadata,
    Column("pair", Key, primary_key=True),
    Column("ram_bytes", BigInteger, nullable=False),
    Column("shared_bytes", BigInteger, nullable=False),
)
"""What a business with its models (`pair`, as of their golden clip) takes of memory: its bundle's figures."""

tokens = Table(
    "tokens",
    metadata,
    Column("hash", Key, primary_key=True),
    Column("person", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("revoked", Boolean, nullable=False),
)

invitations = Table(
    "invitations",
    metadata,
    Column("hash", Key, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("cohort", String(64), nullable=False),
    Column("expires", Float, nullable=False),
    Column("spent_by", Key),
)
"""One-time tokens with which a device may ask to be let in."""

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("person", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(256), nullable=False),
    Column("detail", Text, nullable=False),
    Column("hash", Key, nullable=False),
)
"""Every mutation; only ever appended to. `hash` covers the row and the hash before it."""

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("cohort", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("by", String(64), nullable=False),
    Column("created", Float, nullable=False),
    Column("reached", Integer, nullable=False, server_default="0"),
    Column("looked", Float, nullable=False, server_default="0"),
)
"""`reached`: participants drawn before this place were looked at in this stage, at the time `looked`."""

participants = Table(
    "participants",
    metadata,
    Column("rollout", Serial, ForeignKey("rollouts.id"), primary_key=True),
    Column("device", Key, ForeignKey("devices.id"), primary_key=True),
    Column("stage", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("before", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("sent", Float, nullable=False),
    Column("place", Integer, nullable=False, server_default="0"),
    Index("ix_participants_device", "device"),
    Index("ix_participants_rollout_state", "rollout", "state", "sent", "place"),
)
"""`state`: waiting, offline, sent, done, failed, returned, skipped. `before` and `revision`: what was desired until then, and since; 0 is
the time `sent` until then. `place`: in the order that was drawn.
"""

tallies = Table(
    "tallies",
    metadata,
    Column("rollout", Serial, ForeignKey("rollouts.id"), primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("devices", Integer, nullable=False),
)
"""How many participants of each rollout are in each state."""

resets = Table(
    "resets",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("devices", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(64), nullable=False),
    Column("at", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("approved_by", String(64)),
)
"""Resets of many devices, which a second person must agree to."""
