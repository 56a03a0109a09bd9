"""Run by Alembic with the connection that `Database.upgrade` gives it."""

from __future__ import annotations

from alembic import context

from manifests.cloud.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=False,
)
with context.begin_transaction():
    context.run_migrations()
