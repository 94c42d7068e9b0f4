"""Alembic's way in: runs the migrations on the connection, in the transaction, that migrate.py hands over."""

from alembic import context

from burncloud.database.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
