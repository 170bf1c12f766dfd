"""Events name their booking and account; recalled contacts say why.

Frozen: later revisions change the tables, this file never.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns, empty for what is there: nobody said then."""
    op.add_column("contacts", sa.Column("recall_reason", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("transaction_id", sa.Text(), nullable=True))
    op.add_column("events", sa.Column("account_id", sa.Text(), nullable=True))
    op.create_index("events_of_transaction", "events", ["transaction_id"], unique=True)
    op.create_index(
        "contacts_waiting",
        "contacts",
        ["send_before"],
        unique=False,
        sqlite_where=sa.text("state = 'reserved'"),
        postgresql_where=sa.text("state = 'reserved'"),
    )
