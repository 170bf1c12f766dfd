"""The bank's input contract: which tables, which columns, in which units.

Instants are UTC, money is integer minor units beside an ISO 4217 currency, ids are strings. Three
clocks stand beside every fact: `booked_at` (when it happened), `recorded_at` (when the source knew)
and `imported_at` (when we knew; the import stamps it). What a source does not have it declares in
`assumptions.yaml`; it never guesses.
"""

from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

INSTANT, DAY, ID, TEXT = pa.timestamp("us", "UTC"), pa.date32(), pa.string(), pa.string()
MONEY, COUNT, SHARE, FLAG = pa.int64(), pa.int64(), pa.float64(), pa.bool_()

MARKETING_CHANNELS = ("sms", "email", "app", "call", "branch", "mail")
OUTCOMES = ("delivered", "undelivered", "opened", "clicked", "accepted", "refused", "later",
            "no_response", "wrong_number", "do_not_call", "complained", "opted_out")  # fmt: skip
# Money that leaves the bank or the currency; interest, fees and card payments do not count, nor does
# `own_transfer`, between two accounts of one customer.
OUTFLOW_KINDS = ("cash_withdrawal", "transfer_out", "fx_sale")
INFLOW_KINDS = ("salary", "cash_deposit", "transfer_in", "fx_purchase")
TRANSACTION_KINDS = (*OUTFLOW_KINDS, *INFLOW_KINDS, "purchase", "fee", "interest", "loan_payment",
                     "refund", "own_transfer")  # fmt: skip
# Ten trillion of a currency with cents: whole to the digit as a float, and 9,000 of them add up in 64 bits.
MOST_MINOR = 1e15


@dataclass(frozen=True)
class Column:
    """One column: its type, whether a row may lack it, which values it may take, what it means."""

    name: str
    type: pa.DataType
    help: str
    required: bool = False  # a null quarantines the row
    domain: tuple[str, ...] = ()  # allowed values; empty: any
    low: float | None = None  # smallest and largest allowed number
    high: float | None = None


@dataclass(frozen=True)
class Table:
    """One table: key, columns, foreign keys (column -> table.column), one line of meaning."""

    name: str
    help: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()  # a second row of one key is quarantined
    refers: dict[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema in the declared order, `imported_at` last; metadata carry the meaning."""
        columns = [pa.field(c.name, c.type, metadata={b"help": c.help.encode()}) for c in self.columns]
        return pa.schema([*columns, pa.field("imported_at", INSTANT)])

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if the table has none."""
        return next(c for c in self.columns if c.name == name) if name in self.schema.names else _no(name)


def _no(name: str) -> Column:
    raise KeyError(name)


def _id(name: str, help: str, required: bool = True) -> Column:
    return Column(name, ID, help, required)


_BOOKED = Column("booked_at", INSTANT, "when it happened", required=True)
_RECORDED = Column("recorded_at", INSTANT, "when the source knew", required=True)
_CURRENCY = Column("currency", TEXT, "ISO 4217 code", required=True)
_CUSTOMER = {"customer_id": "customers.customer_id"}


def _flag(name: str, help: str) -> Column:
    return Column(name, FLAG, help)


TABLES: dict[str, Table] = {table.name: table for table in (
    Table("customers", "one row per person or firm", (
        _id("customer_id", "the bank's key of the customer"),
        _id("household_id", "people who live and decide together", required=False),
        Column("kind", TEXT, "person or firm", True, ("person", "corporate")),
        Column("birth_date", DAY, "null for firms"),
        Column("joined_on", DAY, "first day as a customer"),
        Column("home_branch", TEXT, "branch that keeps the file"),
        Column("manager_id", TEXT, "relationship manager"),
        Column("time_zone", TEXT, "IANA zone; null or unknown: always quiet"),
        Column("language", TEXT, "language of letters and calls", domain=("en", "zh")),
        _flag("do_not_contact", "on the do-not-contact register"),
        _flag("no_profiling", "objects to profiling"),
        _flag("deceased", "reported dead"),
        _flag("staff", "employed by the bank"),
        _flag("vulnerable", "marked as vulnerable"),
        _flag("fraud_lock", "locked on suspicion of fraud"),
        Column("arrears_days", COUNT, "days the oldest unpaid instalment is overdue", low=0),
        Column("risk_tolerance", COUNT, "from the suitability questionnaire", low=1, high=5),
        Column("risk_assessed_on", DAY, "day of the questionnaire"),
        Column("credit_grade", COUNT, "1 best .. 10 worst", low=1, high=10),
    ), ("customer_id",)),
    Table("consents", "every grant, denial and withdrawal of consent", (
        _id("customer_id", "who"), Column("purpose", TEXT, "what for", True, ("marketing", "profiling")),
        Column("channel", TEXT, "where; `all` for every channel", True, ("all", *MARKETING_CHANNELS)),
        Column("state", TEXT, "what was said", True, ("granted", "denied", "withdrawn")),
        Column("source", TEXT, "form, branch, app ..."), Column("wording", TEXT, "version of the text shown"),
        Column("at", INSTANT, "when it was said", True), Column("expires_at", INSTANT, "null: does not expire"),
    ), ("customer_id", "purpose", "channel", "at", "state"), _CUSTOMER),
    Table("reachability", "whether a channel reaches the customer", (
        _id("customer_id", "who"), Column("channel", TEXT, "where", True, MARKETING_CHANNELS),
        Column("state", TEXT, "last known", True, ("ok", "missing", "bounced", "dead")),
        Column("at", INSTANT, "since when", True),
    ), ("customer_id", "channel", "at", "state"), _CUSTOMER),
    Table("identities", "which source ids are one customer", (
        Column("source_system", TEXT, "core banking, cards, app ...", True), _id("source_id", "the id there"),
        _id("customer_id", "the customer"), Column("confidence", SHARE, "1: certain", True, low=0, high=1),
    ), ("source_system", "source_id"), _CUSTOMER),
    Table("products", "what the bank sells", (
        _id("product", "key"), Column("family", TEXT, "family of offers", True), _CURRENCY,
        Column("risk_grade", COUNT, "1..5", low=1, high=5), Column("entry_minor", MONEY, "least amount", low=0),
    ), ("product",)),
    Table("accounts", "what is held", (
        _id("account_id", "key"), _id("product", "what it is"), _CURRENCY,
        Column("opened_on", DAY, "first day", True), Column("closed_on", DAY, "null: open"),
        Column("matures_on", DAY, "null: no term"), Column("limit_minor", MONEY, "credit limit", low=0),
    ), ("account_id",), {"product": "products.product"}),
    Table("holders", "who holds it", (
        _id("account_id", "what"), _id("customer_id", "who"),
        Column("role", TEXT, "how", True, ("owner", "joint", "authorised")),
    ), ("account_id", "customer_id"), {**_CUSTOMER, "account_id": "accounts.account_id"}),
    Table("transactions", "every booking", (
        _id("transaction_id", "key"), _id("account_id", "null where the source has no accounts", required=False),
        _id("customer_id", "who"), Column("amount_minor", MONEY, "signed: + in, - out", True, low=-MOST_MINOR, high=MOST_MINOR), _CURRENCY,
        Column("kind", TEXT, "what it was", True, TRANSACTION_KINDS), Column("channel", TEXT, "where it was done"),
        Column("balance_after_minor", MONEY, "balance of the account just after", low=-MOST_MINOR, high=MOST_MINOR), _BOOKED, _RECORDED,
    ), ("transaction_id",), {**_CUSTOMER, "account_id": "accounts.account_id"}),
    Table("fx_rates", "what a unit of base currency is worth", (
        Column("day", DAY, "day of the rate", True), _CURRENCY,
        Column("per_base", SHARE, "units of currency for one unit of base currency", True, low=1e-9),
    ), ("day", "currency")),
    Table("calendar", "holidays", (
        Column("day", DAY, "day", True), Column("region", TEXT, "`all` or a branch", True),
        Column("holiday", TEXT, "name", True),
    ), ("day", "region")),
    Table("contacts", "every contact made before us or beside us", (
        _id("contact_id", "key"), _id("customer_id", "who"), _id("campaign_id", "null: none", required=False),
        _id("offer_id", "null for service messages", required=False),
        Column("channel", TEXT, "where", True, MARKETING_CHANNELS),
        Column("direction", TEXT, "who began", True, ("outbound", "inbound")),
        Column("purpose", TEXT, "what for", True, ("marketing", "service")),
        Column("decided_at", INSTANT, "when it was chosen", True), Column("sent_at", INSTANT, "null: never sent"),
        Column("p_chosen", SHARE, "logged probability of this choice", low=0, high=1),
        Column("answer_by", INSTANT, "last instant an answer counts; null: 30 days after decided_at"),
    ), ("contact_id",), _CUSTOMER),
    Table("outcomes", "what came of a contact", (
        _id("contact_id", "which"), Column("kind", TEXT, "what", True, OUTCOMES),
        Column("at", INSTANT, "when", True),
    ), ("contact_id", "kind", "at"), {"contact_id": "contacts.contact_id"}),
    Table("cases", "complaints, hardship and other files", (
        _id("case_id", "key"), _id("customer_id", "who"),
        Column("kind", TEXT, "what", True, ("complaint", "hardship", "fraud", "bereavement", "other")),
        Column("opened_at", INSTANT, "since", True), Column("closed_at", INSTANT, "null: open"),
    ), ("case_id",), _CUSTOMER),
    Table("notes", "what a manager wrote down", (
        _id("customer_id", "who"), Column("flag", TEXT, "what", True), Column("at", INSTANT, "when", True),
        Column("until", DAY, "null: for good"),
    ), ("customer_id", "flag", "at"), _CUSTOMER),
)}  # fmt: skip

REQUIRED_TABLES = ("customers", "transactions")  # a home without one of these cannot be imported
