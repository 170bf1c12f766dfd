"""People who sign in to the console, and their sessions. Frozen: later revisions change the tables, this file never."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the two tables."""
    op.create_table(
        "users",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", WHOLE, nullable=False),
        sa.Column("changed_at", WHOLE, nullable=False),
        sa.Column("revoked_at", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("users_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "role", "way")),
        sa.Column("began_at", WHOLE, nullable=False),
        sa.Column("expires_at", WHOLE, nullable=False),
        sa.Column("ended_at", WHOLE, nullable=True),
        sa.CheckConstraint("way IN ('password', 'proxy', 'oidc')", name=op.f("sessions_way_known")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("sessions_key")),
        sqlite_strict=True,
    )
    op.create_index("sessions_of_name", "sessions", ["name"])
