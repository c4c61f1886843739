"""Runs migrations on the connection that `isolet.database.migrate` hands over."""

from alembic import context

from isolet.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
