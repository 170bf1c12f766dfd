"""What Alembic runs: the migrations, on the connection the ledger handed over.

The caller has begun the transaction and commits it, so a migration that fails leaves the database
as it was; SQLite and PostgreSQL both roll back DDL.
"""

from alembic import context

from serving.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction is the only one
)
context.run_migrations()
