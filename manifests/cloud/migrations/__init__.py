"""Changes of the schema, applied by Alembic in their order."""
