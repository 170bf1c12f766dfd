"""What was decided since an instant is found without reading every contact.

Frozen: later revisions change the tables, this file never.
"""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the index."""
    op.create_index("contacts_decided", "contacts", ["decided_at"], unique=False)
