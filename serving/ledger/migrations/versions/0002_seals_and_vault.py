"""Seals, journal, vault, holds and merges; a decision's seal is known from its leaf.

Frozen: later revisions change the tables, this file never.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SHARE = sa.Double[float]().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Add the tables and columns; rows stay as they are."""
    op.drop_index("decisions_recorded", "decisions")
    op.drop_column("decisions", "sealed")
    op.create_index("decisions_recorded", "decisions", ["recorded_at", "decision_id", "row_sha256"])
    op.create_index("consents_received", "consents", ["received_at"])
    op.create_index("outcomes_recorded", "outcomes", ["recorded_at"])
    op.add_column("units", sa.Column("base_unit_id", sa.Text(), nullable=True))
    op.add_column("units", sa.Column("person_id", sa.Text(), nullable=True))
    op.create_index("units_persons", "units", ["person_id"])
    _create_merges()
    _create_seals()
    _create_journal()
    _create_vault()


def _create_merges() -> None:
    op.create_table(
        "merges",
        sa.Column("merge_id", sa.Text(), nullable=False),
        sa.Column("one", sa.Text(), nullable=False),
        sa.Column("other", sa.Text(), nullable=False),
        sa.Column("confidence", SHARE, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", WHOLE, nullable=False),
        sa.Column("undone_at", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("merge_id", name=op.f("merges_key")),
        sqlite_strict=True,
    )
    op.create_index("merges_of_one", "merges", ["one"])
    op.create_index("merges_of_other", "merges", ["other"])


def _create_seals() -> None:
    op.create_table(
        "leaves",
        sa.Column("seal_id", WHOLE, autoincrement=False, nullable=False),
        sa.Column("place", WHOLE, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seal_id", "place", name=op.f("leaves_key")),
        sqlite_strict=True,
    )
    op.create_index("leaves_of_row", "leaves", ["kind", "row_id"], unique=True)
    op.create_table(
        "seals",
        sa.Column("seal_id", WHOLE, autoincrement=False, nullable=False),
        sa.Column("sealed_at", WHOLE, nullable=False),
        sa.Column("through", WHOLE, nullable=False),
        sa.Column("leaves", WHOLE, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seal_id", name=op.f("seals_key")),
        sqlite_strict=True,
    )
    op.create_index("seals_at", "seals", ["sealed_at"])


def _create_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("entry_id", WHOLE, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("journal_key")),
        sqlite_strict=True,
    )
    op.create_index("journal_of_subject", "journal", ["subject"])


def _create_vault() -> None:
    op.create_table(
        "vault",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("made_at", WHOLE, nullable=False),
        sa.Column("shredded_at", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("vault_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "holds",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("holds_key")),
        sqlite_strict=True,
    )
