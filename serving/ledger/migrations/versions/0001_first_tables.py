"""The first tables: contacts and outcomes, events, suppressions, consents, records, keys, switches.

Frozen: later revisions change the tables, this file never.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SHARE = sa.Double[float]().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Create every table of an empty ledger."""
    _create_consents()
    _create_contacts()
    _create_decisions()
    _create_events()
    _create_idempotency()
    _create_keys()
    _create_meta()
    _create_suppressions()
    _create_switches()
    _create_units()
    _create_outcomes()


def _create_consents() -> None:
    op.create_table(
        "consents",
        sa.Column("consent_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("wording", sa.Text(), nullable=True),
        sa.Column("at", WHOLE, nullable=False),
        sa.Column("received_at", WHOLE, nullable=False),
        sa.CheckConstraint("state IN ('granted', 'denied', 'withdrawn')", name=op.f("consents_state_known")),
        sa.PrimaryKeyConstraint("consent_id", name=op.f("consents_key")),
        sqlite_strict=True,
    )
    op.create_index("consents_of_customer", "consents", ["customer_id", "at"], unique=False)


def _create_contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("offer_id", sa.Text(), nullable=True),
        sa.Column("family", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("treatment", sa.Text(), nullable=True),
        sa.Column("campaign_id", sa.Text(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("decided_at", WHOLE, nullable=False),
        sa.Column("send_after", WHOLE, nullable=False),
        sa.Column("send_before", WHOLE, nullable=False),
        sa.Column("claimed_at", WHOLE, nullable=True),
        sa.Column("sent_at", WHOLE, nullable=True),
        sa.Column("closed_at", WHOLE, nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("p_chosen", SHARE, nullable=True),
        sa.Column("decision_id", sa.Text(), nullable=True),
        sa.CheckConstraint("direction IN ('outbound', 'inbound')", name=op.f("contacts_direction_known")),
        sa.CheckConstraint("source IN ('decision', 'import', 'external')", name=op.f("contacts_source_known")),
        sa.CheckConstraint("state IN ('reserved', 'claimed', 'sent', 'closed')", name=op.f("contacts_state_known")),
        sa.CheckConstraint("send_after <= send_before", name=op.f("contacts_window_forward")),
        sa.PrimaryKeyConstraint("contact_id", name=op.f("contacts_key")),
        sqlite_strict=True,
    )
    op.create_index(
        "contacts_due",
        "contacts",
        ["channel", "send_after", "contact_id"],
        unique=False,
        sqlite_where=sa.text("state = 'reserved'"),
        postgresql_where=sa.text("state = 'reserved'"),
    )
    op.create_index("contacts_of_customer", "contacts", ["customer_id"], unique=False)
    op.create_index("contacts_of_unit", "contacts", ["unit_id", "send_before"], unique=False)
    op.create_index(
        "contacts_recalled",
        "contacts",
        ["closed_at", "contact_id"],
        unique=False,
        sqlite_where=sa.text("close_reason = 'recalled'"),
        postgresql_where=sa.text("close_reason = 'recalled'"),
    )


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("as_of", WHOLE, nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("revisions", sa.Text(), nullable=False),
        sa.Column("recorded_at", WHOLE, nullable=False),
        sa.Column("row_sha256", sa.Text(), nullable=False),
        sa.Column("sealed", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("decisions_key")),
        sqlite_strict=True,
    )
    op.create_index("decisions_of_customer", "decisions", ["customer_id", "as_of"], unique=False)
    op.create_index("decisions_recorded", "decisions", ["recorded_at"], unique=False)


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", WHOLE, nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("balance_after_minor", WHOLE, nullable=True),
        sa.Column("booked_at", WHOLE, nullable=False),
        sa.Column("recorded_at", WHOLE, nullable=False),
        sa.Column("received_at", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("events_key")),
        sqlite_strict=True,
    )
    op.create_index("events_of_customer", "events", ["customer_id", "booked_at"], unique=False)
    op.create_index("events_received", "events", ["received_at"], unique=False)


def _create_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("status", WHOLE, nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("principal", "route", "key", name=op.f("idempotency_key")),
        sqlite_strict=True,
    )


def _create_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", WHOLE, nullable=False),
        sa.Column("expires_at", WHOLE, nullable=False),
        sa.Column("revoked_at", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("keys_key")),
        sa.UniqueConstraint("key_sha256", name=op.f("keys_key_sha256_once")),
        sqlite_strict=True,
    )


def _create_meta() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("meta_key")),
        sqlite_strict=True,
    )


def _create_suppressions() -> None:
    op.create_table(
        "suppressions",
        sa.Column("suppression_id", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("opened_at", WHOLE, nullable=False),
        sa.Column("ends_at", WHOLE, nullable=False),
        sa.Column("closed_at", WHOLE, nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("outflow_minor", WHOLE, nullable=True),
        sa.PrimaryKeyConstraint("suppression_id", name=op.f("suppressions_key")),
        sqlite_strict=True,
    )
    op.create_index("suppressions_of_customer", "suppressions", ["customer_id", "currency"], unique=False)
    op.create_index("suppressions_of_unit", "suppressions", ["unit_id", "ends_at"], unique=False)


def _create_switches() -> None:
    op.create_table(
        "switches",
        sa.Column("switch_id", WHOLE, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", WHOLE, nullable=False),
        sa.CheckConstraint("action IN ('pause', 'ask', 'resume')", name=op.f("switches_action_known")),
        sa.PrimaryKeyConstraint("switch_id", name=op.f("switches_key")),
        sqlite_strict=True,
    )
    op.create_index("switches_of_scope", "switches", ["scope", "switch_id"], unique=False)


def _create_units() -> None:
    op.create_table(
        "units",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("units_key")),
        sqlite_strict=True,
    )
    op.create_index("units_members", "units", ["unit_id"], unique=False)


def _create_outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", WHOLE, autoincrement=False, nullable=False),
        sa.Column("recorded_at", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.contact_id"], name=op.f("outcomes_contact_id")),
        sa.PrimaryKeyConstraint("contact_id", "kind", "at", name=op.f("outcomes_key")),
        sqlite_strict=True,
    )
