"""What a business with its models takes, as its bundle says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    """Bundles that are there already give their figures when they are uploaded again."""
    op.create_table(
        "costs",
        sa.Column("pair", sa.String(length=64), nullable=False),
        sa.Column("ram_bytes", sa.BigInteger(), nullable=False),
        sa.Column("shared_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pair", name=op.f("pk_costs")),
    )
