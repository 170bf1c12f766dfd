"""What is claimed and not yet sent is found without reading every contact.

Frozen: later revisions change the tables, this file never.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "contacts_claimed",
        "contacts",
        ["claimed_at"],
        unique=False,
        sqlite_where=sa.text("state = 'claimed'"),
        postgresql_where=sa.text("state = 'claimed'"),
    )
