"""Alembic's entry: it runs on the connection, and in the transaction, that ``bridge.store.migrate`` opened."""

from alembic import context

from bridge.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
