"""Changes of rules, catalogue and campaigns: their texts, whole sets, and the steps of each change.

The three tables are append-only, and the database itself keeps them so. Frozen: later revisions change the
tables, this file never.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ACTS = ("boot", "propose", "check", "approve", "reject", "withdraw", "activate", "rollback")
TABLES = ("texts", "live_sets", "change_steps")


def upgrade() -> None:
    """Add the tables, and what keeps their rows as they are."""
    op.create_table(
        "texts",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("texts_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "live_sets",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("live_sets_key")),
        sqlite_strict=True,
    )
    _create_steps()
    _keep()


def _create_steps() -> None:
    listed = ", ".join(f"'{act}'" for act in ACTS)
    texts = ("act", "principal", "role", "kinds", "base", "target")
    op.create_table(
        "change_steps",
        sa.Column("step_id", WHOLE, nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        sa.Column("at", WHOLE, nullable=False),
        sa.Column("effective_at", WHOLE, nullable=True),
        sa.Column("passed", WHOLE, nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("note", "report", "previous", "signature")),
        sa.CheckConstraint(f"act IN ({listed})", name=op.f("change_steps_act_known")),
        sa.PrimaryKeyConstraint("step_id", name=op.f("change_steps_key")),
        sqlite_strict=True,
    )
    op.create_index("change_steps_of_change", "change_steps", ["change_id", "step_id"])
    op.create_index(
        "change_steps_in_force",
        "change_steps",
        ["effective_at", "step_id"],
        sqlite_where=sa.text("effective_at IS NOT NULL"),
        postgresql_where=sa.text("effective_at IS NOT NULL"),
    )


def _keep() -> None:
    """Whoever has the database open can still not change or remove a row without first removing this."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION changes_stay() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'append-only'; END $$"
        )
        for table in TABLES:
            op.execute(
                f"CREATE TRIGGER {table}_stay BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION changes_stay()"
            )
        return
    for table in TABLES:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_stay_{verb.lower()} BEFORE {verb} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'append-only'); END"
            )
