"""Named customers: their stories are written down, not drawn, and are the same in every bank.

- C0000001, the customer of the USD story: a man of 41 in Shanghai without household. Opened a USD
  account five weeks before the data end, paid in USD 12,000.00 24 days before it and still holds
  them. Risk tolerance 4, assessed three months ago; consents granted; reachable everywhere; not in
  arrears; contacted by nobody in the last 120 days. A salary of CNY 18,000 and quiet spending.
- C0000002 and C0000003, a married couple of one household (H0000002): both may be contacted
  everywhere, each holds about CNY 200,000, risk tolerance 3, assessed half a year ago; no contact
  in the last 120 days. For caps that count per household.

All dates count back from `until`. Everything else in the bank is drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Final

import pyarrow as pa

from simulation.columns import schema_of
from simulation.response import Minds
from simulation.world import CHANNEL_IDS, DOLLAR, PRODUCT_INDEX, SPEND, WEALTH

Row = dict[str, object]

USD_STORY: Final = "C0000001"
COUPLE: Final = ("C0000002", "C0000003")
STORY_DEPOSIT_MINOR: Final = 1_200_000


@dataclass(frozen=True)
class Member:
    """One named customer: money in fen, needs that drive the truth, worth in fen."""

    customer_id: str
    born: date
    language: str
    household_id: str | None
    tolerance: int
    assessed_days_ago: int
    opening_minor: int
    salary_minor: int
    rent_minor: int
    needs: dict[int, float]
    lifetime_value_minor: float

    @property
    def number(self) -> int:
        """Number from 0."""
        return int(self.customer_id[1:]) - 1

    def account_id(self, product: str) -> str:
        """The id of his account of a product."""
        return f"A{self.number + 1:07d}{PRODUCT_INDEX[product]:02d}00"


CAST: Final = (
    Member(USD_STORY, date(1985, 3, 14), "zh", None, 4, 92, 6_500_000, 1_800_000, 900_000,
           {DOLLAR: 2.0, WEALTH: 0.8}, 900_000.0),
    Member(COUPLE[0], date(1983, 7, 2), "zh", "H0000002", 3, 180, 20_000_000, 1_500_000, 1_000_000,
           {WEALTH: 1.2, SPEND: 0.6}, 1_100_000.0),
    Member(COUPLE[1], date(1984, 11, 23), "zh", "H0000002", 3, 180, 20_000_000, 1_300_000, 850_000,
           {WEALTH: 1.2, SPEND: 0.9}, 1_000_000.0),
)  # fmt: skip


def cast_tables(since: datetime, until: datetime, customers: int) -> dict[str, pa.Table]:
    """The named customers' rows of each table, of those among the first `customers`."""
    cast = [member for member in CAST if member.number < customers]
    rows: dict[str, list[Row]] = {
        "customers": [_customer(member, until) for member in cast],
        "consents": [_consent(member, since) for member in cast],
        "reachability": [row for member in cast for row in _reachability(member, since)],
        "identities": [_identity(member) for member in cast],
        "accounts": [row for member in cast for row in _accounts(member, since, until)],
        "holders": [row for member in cast for row in _holders(member)],
        "transactions": [row for member in cast for row in _transactions(member, since, until)],
        "contacts": [row for member in cast for row in _contacts(member, since, until)],
        "outcomes": [row for member in cast for row in _outcomes(member, since, until)],
    }
    return {name: pa.Table.from_pylist(r, schema=schema_of(name)) for name, r in rows.items()}


def cast_minds(minds: Minds) -> Minds:
    """The block's minds with the named customers' in the first rows."""
    changed = {f.name: getattr(minds, f.name).copy() for f in fields(minds)}
    for member in CAST:
        row = member.number
        for name, column in changed.items():
            column[row] = name in {"works", "earns", "active"}
        changed["age_years"][row] = 2026 - member.born.year
        for need, size in member.needs.items():
            changed["needs"][row, need] = size
        changed["funds_minor"][row, 0] = member.opening_minor
        if member.customer_id == USD_STORY:
            changed["funds_minor"][row, 1] = STORY_DEPOSIT_MINOR
    return replace(minds, **changed)


def _customer(member: Member, until: datetime) -> Row:
    assessed = (until - timedelta(days=member.assessed_days_ago)).date()
    flags = ("do_not_contact", "no_profiling", "deceased", "staff", "vulnerable", "fraud_lock")
    return {
        "customer_id": member.customer_id, "household_id": member.household_id, "kind": "person",
        "birth_date": member.born, "joined_on": date(2017, 5, 8), "home_branch": "B01",
        "manager_id": None, "time_zone": "Asia/Shanghai", "language": member.language,
        **dict.fromkeys(flags, False), "arrears_days": 0, "risk_tolerance": member.tolerance,
        "risk_assessed_on": assessed, "credit_grade": 3,
    }  # fmt: skip


def _consent(member: Member, since: datetime) -> Row:
    return {
        "customer_id": member.customer_id, "purpose": "marketing", "channel": "all",
        "state": "granted", "source": "branch", "wording": "v2",
        "at": since - timedelta(days=400), "expires_at": None,
    }  # fmt: skip


def _reachability(member: Member, since: datetime) -> Iterator[Row]:
    for channel in (*CHANNEL_IDS, "mail"):
        yield {"customer_id": member.customer_id, "channel": channel, "state": "ok",
               "at": since - timedelta(days=400)}  # fmt: skip


def _identity(member: Member) -> Row:
    return {"source_system": "core", "source_id": f"P-{member.customer_id}",
            "customer_id": member.customer_id, "confidence": 1.0}  # fmt: skip


def _accounts(member: Member, since: datetime, until: datetime) -> Iterator[Row]:
    yield {"account_id": member.account_id("current_cny"), "product": "current_cny",
           "currency": "CNY", "opened_on": date(2017, 5, 8)}  # fmt: skip
    if member.customer_id == USD_STORY:
        opened = max(since, until - timedelta(days=35)).date()
        yield {"account_id": member.account_id("current_usd"), "product": "current_usd",
               "currency": "USD", "opened_on": opened}  # fmt: skip


def _holders(member: Member) -> Iterator[Row]:
    products = ("current_cny", "current_usd") if member.customer_id == USD_STORY else ("current_cny",)
    for product in products:
        yield {"account_id": member.account_id(product), "customer_id": member.customer_id,
               "role": "owner"}  # fmt: skip


def _transactions(member: Member, since: datetime, until: datetime) -> Iterator[Row]:
    balance = {"CNY": member.opening_minor, "USD": 0}
    bookings = sorted(_bookings(member, since, until))
    for number, (at, amount, currency, kind, channel) in enumerate(bookings):
        balance[currency] += amount
        product = f"current_{currency.lower()}"
        yield {
            "transaction_id": f"T{member.number + 1:07d}{number:06d}",
            "account_id": member.account_id(product), "customer_id": member.customer_id,
            "amount_minor": amount, "currency": currency, "kind": kind, "channel": channel,
            "balance_after_minor": balance[currency], "booked_at": at,
            "recorded_at": at + timedelta(seconds=30),
        }  # fmt: skip


def _bookings(member: Member, since: datetime, until: datetime) -> Iterator[tuple[datetime, int, str, str, str]]:
    day = since
    while day < until:
        if day.day == 10:
            yield day + timedelta(hours=2), member.salary_minor, "CNY", "salary", "system"
        if day.day == 12:
            yield day + timedelta(hours=3), -member.rent_minor, "CNY", "transfer_out", "app"
        if day.day in (3, 8, 16, 21, 27):
            spent = member.salary_minor // 20 + 1_100 * (day.day + day.month)
            yield day + timedelta(hours=4, minutes=day.day), -spent, "CNY", "purchase", "pos"
        day += timedelta(days=1)
    deposit_at = until - timedelta(days=24) + timedelta(hours=3)
    if member.customer_id == USD_STORY and deposit_at >= since:
        yield deposit_at, STORY_DEPOSIT_MINOR, "USD", "cash_deposit", "branch"


def _history(since: datetime, until: datetime) -> Iterator[tuple[int, datetime]]:
    """Two text messages of the old days, never within 120 days of the end."""
    for number, months in enumerate((3, 6)):
        at = since + timedelta(days=30 * months, hours=4)
        if at < until - timedelta(days=120):
            yield number, at


def _contacts(member: Member, since: datetime, until: datetime) -> Iterator[Row]:
    for number, at in _history(since, until):
        yield {
            "contact_id": f"K{member.number + 1:07d}{number:04d}",
            "customer_id": member.customer_id,
            "campaign_id": f"legacy_{at.year}_{at.month:02d}", "offer_id": "card_cashback",
            "channel": "sms", "direction": "outbound", "purpose": "marketing", "decided_at": at,
            "sent_at": at + timedelta(minutes=10), "p_chosen": 0.05, "answer_by": None,
        }  # fmt: skip


def _outcomes(member: Member, since: datetime, until: datetime) -> Iterator[Row]:
    for number, at in _history(since, until):
        yield {"contact_id": f"K{member.number + 1:07d}{number:04d}", "kind": "delivered",
               "at": at + timedelta(minutes=10, seconds=5)}  # fmt: skip
