"""Alembic's entry point. It runs in the transaction that ``bridge.store.migrate`` opened.

Without a connection it prints SQL instead, in the given dialect.
"""

from alembic import context

from bridge.store.schema import metadata

attributes = context.config.attributes
if context.is_offline_mode():
    context.configure(
        dialect_name=attributes["dialect"],
        target_metadata=metadata,
        version_table_schema=attributes["schema"],
        literal_binds=True,
        output_buffer=context.config.output_buffer,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(
        connection=attributes["connection"],
        target_metadata=metadata,
        version_table_schema=attributes["schema"],
    )
    context.run_migrations()
