"""Participants in drawn order, and how many of them are in each state."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

STATES = ("waiting", "offline", "sent", "done", "failed", "returned", "skipped")


def upgrade() -> None:
    """Draws and counts those of rollouts that are there."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    with op.batch_alter_table("rollouts") as batch_op:
        batch_op.add_column(sa.Column("reached", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("looked", sa.Float(), nullable=False, server_default="0"))
    with op.batch_alter_table("participants") as batch_op:
        batch_op.add_column(sa.Column("place", sa.Integer(), nullable=False, server_default="0"))
    tallies = op.create_table(
        "tallies",
        sa.Column("rollout", serial, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_tallies_rollout")),
        sa.PrimaryKeyConstraint("rollout", "state", name=op.f("pk_tallies")),
    )
    participants = sa.table("participants", *(sa.column(name) for name in ("rollout", "device", "state", "place")))
    connection = op.get_bind()
    drawn: dict[int, list[str]] = {}
    counts: dict[tuple[int, str], int] = {}
    for number, device, state in connection.execute(sa.select(participants.c.rollout, participants.c.device, participants.c.state)):
        drawn.setdefault(number, []).append(device)
        counts[number, state] = counts.get((number, state), 0) + 1
    for number, ids in drawn.items():
        op.bulk_insert(tallies, [{"rollout": number, "state": state, "devices": counts.get((number, state), 0)} for state in STATES])
        ids.sort(key=lambda device, number=number: hashlib.sha256(f"{number}.{device}".encode()).digest())  # type: ignore[misc]
        rows = sa.update(participants).where(participants.c.rollout == number, participants.c.device == sa.bindparam("who"))
        connection.execute(rows.values(place=sa.bindparam("drawn")), [{"who": device, "drawn": place} for place, device in enumerate(ids)])
    with op.batch_alter_table("participants") as batch_op:
        batch_op.create_index("ix_participants_rollout_state", ["rollout", "state", "sent", "place"], unique=False)
