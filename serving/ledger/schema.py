"""The tables of the ledger's database.

Names are contract. Every column that ends in _at, _after or _before, and `at` and `as_of`, is an
instant: int64 microseconds since 1970 in UTC. Money is in integer minor units. Null says "there is
none" or "nobody said". Changing a table needs a migration (`serving/ledger/migrations/versions`); a test
compares the two.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.types import Double

HEAD = "0007"  # the newest migration; a database at another revision is migrated or refused

Whole = BigInteger().with_variant(Integer, "sqlite")  # STRICT tables of SQLite know INTEGER only
Share = Double[float]().with_variant(REAL, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "%(column_0_N_label)s",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_name)s",
        "pk": "%(table_name)s_key",
        "uq": "%(table_name)s_%(column_0_name)s_once",
    }
)


def _table(name: str, *parts: Column[Any] | Index | CheckConstraint) -> Table:
    return Table(name, metadata, *parts, sqlite_strict=True)


def _id(name: str, **more: Any) -> Column[Any]:
    return Column(name, Text, nullable=False, **more)


def _word(name: str) -> Column[Any]:
    return Column(name, Text)


def _whole(name: str, nullable: bool = False) -> Column[Any]:
    return Column(name, Whole, nullable=nullable)


def _one_of(column: str, words: Iterable[str]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


STATES = ("reserved", "claimed", "sent", "closed")
SOURCES = ("decision", "import", "external")

contacts = _table(
    "contacts",
    _id("contact_id", primary_key=True),
    _id("customer_id"),
    _id("unit_id"),  # household, else person, as merged today
    _word("offer_id"),  # null: a service message
    _word("family"),
    _id("channel"),
    _word("treatment"),
    _word("campaign_id"),
    _id("purpose"),
    _id("direction"),
    _id("state"),
    _id("source"),
    _whole("decided_at"),
    _whole("send_after"),
    _whole("send_before"),
    _whole("claimed_at", nullable=True),
    _whole("sent_at", nullable=True),
    _whole("closed_at", nullable=True),
    _word("close_reason"),
    _word("recall_reason"),  # why it was recalled, also on its way: a slug of rules.reasons, or who took it back
    Column("p_chosen", Share),
    _word("decision_id"),
    _one_of("state", STATES),
    _one_of("source", SOURCES),
    _one_of("direction", ("outbound", "inbound")),
    CheckConstraint("send_after <= send_before", name="window_forward"),
    Index("contacts_of_unit", "unit_id", "send_before"),
    Index("contacts_of_customer", "customer_id"),
    Index("contacts_decided", "decided_at"),
    Index(
        "contacts_due", "channel", "send_after", "contact_id",
        sqlite_where=text("state = 'reserved'"), postgresql_where=text("state = 'reserved'"),
    ),
    Index(
        "contacts_waiting", "send_before",
        sqlite_where=text("state = 'reserved'"), postgresql_where=text("state = 'reserved'"),
    ),
    Index(
        "contacts_claimed", "claimed_at",
        sqlite_where=text("state = 'claimed'"), postgresql_where=text("state = 'claimed'"),
    ),
    Index(
        "contacts_recalled", "closed_at", "contact_id",
        sqlite_where=text("close_reason = 'recalled'"),
        postgresql_where=text("close_reason = 'recalled'"),
    ),
)  # fmt: skip

outcomes = _table(
    "outcomes",
    Column("contact_id", Text, ForeignKey("contacts.contact_id"), primary_key=True, nullable=False),
    _id("kind", primary_key=True),
    Column("at", Whole, primary_key=True, nullable=False, autoincrement=False),
    _whole("recorded_at"),
    Index("outcomes_recorded", "recorded_at"),
)

events = _table(
    "events",
    _id("event_id", primary_key=True),
    _id("customer_id"),
    _id("kind"),
    _whole("amount_minor", nullable=True),  # null, as the next two: not about money
    _word("currency"),
    _whole("balance_after_minor", nullable=True),
    _whole("booked_at"),
    _whole("recorded_at"),
    _whole("received_at"),
    _word("transaction_id"),  # the booking in the bank's own tables; null: nobody said
    _word("account_id"),
    Index("events_of_customer", "customer_id", "booked_at"),
    Index("events_of_transaction", "transaction_id", unique=True),
    Index("events_received", "received_at"),
)

consents = _table(
    "consents",
    _id("consent_id", primary_key=True),
    _id("customer_id"),
    _id("purpose"),
    _id("channel"),  # `all`: every channel
    _id("state"),
    _word("source"),
    _word("wording"),
    _whole("at"),
    _whole("received_at"),
    Index("consents_of_customer", "customer_id", "at"),
    Index("consents_received", "received_at"),
    _one_of("state", ("granted", "denied", "withdrawn")),
)

# Open at t iff opened_at <= t < min(ends_at, closed_at). A row a late event made untrue keeps its
# place with closed_at = opened_at: it never holds, and the record still says what was believed.
suppressions = _table(
    "suppressions",
    _id("suppression_id", primary_key=True),
    _id("rule_id"),
    _id("customer_id"),
    _id("unit_id"),
    _word("currency"),
    _whole("opened_at"),
    _whole("ends_at"),
    _whole("closed_at", nullable=True),
    _id("cause"),  # the event that opened it
    _whole("outflow_minor", nullable=True),  # what had left by then, and since: the measure of an early end
    Index("suppressions_of_unit", "unit_id", "ends_at"),
    Index("suppressions_of_customer", "customer_id", "currency"),
)

units = _table(
    "units",
    _id("customer_id", primary_key=True),
    _id("unit_id"),  # as merged today
    _word("base_unit_id"),  # as the import says it; null: unit_id
    _word("person_id"),  # the smallest of the ids that are, or may be, one person; null: himself
    Index("units_members", "unit_id"),
    Index("units_persons", "person_id"),
)

# Who was said to be whom. Undone, a merge keeps its row: what was believed when stays known.
merges = _table(
    "merges",
    _id("merge_id", primary_key=True),
    _id("one"),
    _id("other"),
    Column("confidence", Share, nullable=False),  # 1: certain; below: doubt
    _id("source"),
    _whole("at"),
    _whole("undone_at", nullable=True),
    Index("merges_of_one", "one"),
    Index("merges_of_other", "other"),
)

idempotency = _table(
    "idempotency",
    _id("principal", primary_key=True),
    _id("route", primary_key=True),
    _id("key", primary_key=True),
    _id("body_sha256"),
    _whole("status"),
    Column("answer", LargeBinary, nullable=False),
    _whole("recorded_at"),
)

decisions = _table(
    "decisions",
    _id("decision_id", primary_key=True),
    _id("customer_id"),
    _id("unit_id"),
    _whole("as_of"),
    Column("inputs", LargeBinary, nullable=False),  # state columns and scores, as decide saw them
    Column("result", LargeBinary, nullable=False),  # JSON
    _id("reasons"),  # JSON list of slugs; `[]`: an offer won
    _id("terms"),
    _id("revisions"),  # JSON object
    _whole("recorded_at"),
    _id("row_sha256"),
    Index("decisions_of_customer", "customer_id", "as_of"),
    # What a seal reads stands in the index: the row itself is long.
    Index("decisions_recorded", "recorded_at", "decision_id", "row_sha256"),
)

keys = _table(
    "keys",
    _id("name", primary_key=True),
    _id("key_sha256", unique=True),  # HMAC with the home's secret; the key itself is nowhere
    _id("role"),
    _whole("created_at"),
    _whole("expires_at"),
    _whole("revoked_at", nullable=True),
)

# People who sign in to the console with a password of this house.
users = _table(
    "users",
    _id("name", primary_key=True),
    _id("password"),  # its argon2id hash, which carries salt and costs
    _id("role"),
    _whole("created_at"),
    _whole("changed_at"),  # when the password was set
    _whole("revoked_at", nullable=True),
)

# Who is, or was, signed in to the console. By the wall clock: a simulated one stands still, a session must not.
sessions = _table(
    "sessions",
    _id("token_sha256", primary_key=True),  # the token itself is in one cookie and nowhere else
    _id("name"),
    _id("role"),
    _id("way"),
    _whole("began_at"),
    _whole("expires_at"),
    _whole("ended_at", nullable=True),
    _one_of("way", ("password", "proxy", "oidc")),
    Index("sessions_of_name", "name"),
)

# Append-only: the last row of a scope says whether it is paused; the rest is the record.
switches = _table(
    "switches",
    Column("switch_id", Whole, primary_key=True),
    _id("scope"),
    _id("action"),
    _id("principal"),
    _id("reason"),
    _whole("at"),
    _one_of("action", ("pause", "ask", "resume")),
    Index("switches_of_scope", "scope", "switch_id"),
)

# One row a sealed row: where a row was pruned, its leaf still carries the root.
leaves = _table(
    "leaves",
    Column("seal_id", Whole, primary_key=True, nullable=False, autoincrement=False),
    Column("place", Whole, primary_key=True, nullable=False, autoincrement=False),
    _id("kind"),
    _id("row_id"),
    _id("sha256"),
    Index("leaves_of_row", "kind", "row_id", unique=True),
)

seals = _table(
    "seals",
    Column("seal_id", Whole, primary_key=True, nullable=False, autoincrement=False),  # 1, 2, 3 without a gap
    _whole("sealed_at"),
    _whole("through"),  # everything recorded before it was sealed then
    _whole("leaves"),
    _id("root"),
    _id("previous"),  # the head before; 64 zeros for the first
    _id("head"),
    _id("key_id"),
    _id("mac"),  # HMAC of the head with the home's key of that id
    Index("seals_at", "sealed_at"),
)

journal = _table(
    "journal",
    Column("entry_id", Whole, primary_key=True),
    _id("kind"),
    _word("subject"),
    _id("principal"),
    _id("body"),  # JSON object
    _whole("at"),
    Index("journal_of_subject", "subject"),
)

# A customer's data key, wrapped by the home's key; wrapped null: shredded.
vault = _table(
    "vault",
    _id("customer_id", primary_key=True),
    Column("wrapped", LargeBinary),
    _word("key_id"),
    _whole("made_at"),
    _whole("shredded_at", nullable=True),
)

holds = _table(
    "holds",
    _id("customer_id", primary_key=True),
    _id("principal"),
    _id("reason"),
    _whole("at"),
)

# What is reviewed: texts by their hash, whole sets of files by theirs, and the steps of every change, append-only.
texts = _table("texts", _id("sha256", primary_key=True), _id("body"))

live_sets = _table(
    "live_sets",
    _id("revision", primary_key=True),
    _id("manifest"),  # JSON: name -> sha256 of its text
)

change_steps = _table(
    "change_steps",
    Column("step_id", Whole, primary_key=True),
    _id("change_id"),
    _id("act"),
    _id("principal"),  # the owner of the key
    _id("role"),
    _id("kinds"),  # JSON list
    _id("base"),  # the set it was built upon, as the next: a revision of live_sets
    _id("target"),
    _whole("at"),
    _whole("effective_at", nullable=True),  # null: the step puts nothing into force
    _whole("passed", nullable=True),  # 1 or 0; null: no check
    _id("note"),
    _id("report"),  # JSON: what a check found; `{}`: no check
    _id("previous"),  # the signature of the step before, of any change
    _id("signature"),  # HMAC of all above
    _one_of("act", ("boot", "propose", "check", "approve", "reject", "withdraw", "activate", "rollback")),
    Index("change_steps_of_change", "change_id", "step_id"),
    Index(
        "change_steps_in_force", "effective_at", "step_id",
        sqlite_where=text("effective_at IS NOT NULL"), postgresql_where=text("effective_at IS NOT NULL"),
    ),
)  # fmt: skip

meta = _table("meta", _id("name", primary_key=True), _id("value"))
