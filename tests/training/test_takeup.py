"""Take-up from holdings, and who may tell what customers do unasked."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from tests.training.test_labels import CUT, START, table
from training.labels import TAKEUP_DAYS, TAKEUP_GAP_DAYS, age_band, never_contacted, takeup_labels

DAY = timedelta(days=1)


def account(key: str, product: str, opened: datetime, closed: date | None = None) -> dict[str, object]:
    return {"account_id": key, "product": product, "currency": "CNY", "opened_on": opened.date(), "closed_on": closed}


def labels(days: float | None, cut: datetime = CUT, product: str = "card") -> dict[str, object] | None:
    """K1 holds a current account and opens the product so many days after START; the row of START."""
    accounts = [account("A", "current", datetime(2025, 1, 1))]
    if days is not None:
        accounts.append(account("B", product, START + days * DAY))
    holders = [{"account_id": row["account_id"], "customer_id": "K1", "role": "owner"} for row in accounts]
    rows = takeup_labels(table("accounts", accounts), table("holders", holders), {"card_gold": "card"}, [START], cut)
    return rows.to_dicts()[0] if len(rows) else None


@pytest.mark.parametrize(
    ("days", "taken"),
    [
        (None, False),
        (0, None),  # on the day itself he holds it already: no row
        (TAKEUP_GAP_DAYS, True),
        (TAKEUP_GAP_DAYS + TAKEUP_DAYS - 1, True),
        (TAKEUP_GAP_DAYS + TAKEUP_DAYS, False),
        (-40, None),
    ],
)
def test_taken_within_thirty_days_of_the_day_after(days: float | None, taken: bool | None) -> None:
    row = labels(days)
    assert (None if row is None else row["taken"]) is taken
    assert row is None or row["offer_id"] == "card_gold"


def test_another_product_is_no_take_up_and_a_young_label_is_not_a_zero() -> None:
    other, young = labels(5, product="loan"), labels(5, cut=START + 30 * DAY)
    assert other is not None and other["taken"] is False
    assert young is not None and young["taken"] is None
    ripe = labels(5, cut=START + (TAKEUP_GAP_DAYS + TAKEUP_DAYS) * DAY)
    assert ripe is not None and ripe["taken"] is True


def rows(*customers: str) -> pl.DataFrame:
    end = START + 31 * DAY
    return pl.DataFrame({"customer_id": list(customers), "as_of": [START] * len(customers),
                         "label_end": [end] * len(customers)}).cast({"as_of": pl.Datetime("us", "UTC"), "label_end": pl.Datetime("us", "UTC")})  # fmt: skip


def note(customer: str, at: datetime, until: date | None = None, flag: str = "legacy_control") -> dict[str, object]:
    return {"customer_id": customer, "flag": flag, "at": at, "until": until}


def marketed(customer: str, days: float, **other: object) -> dict[str, object]:
    at = START + days * DAY
    row: dict[str, object] = {"contact_id": f"X{customer}{days}", "customer_id": customer, "channel": "sms", "direction": "outbound",
                              "purpose": "marketing", "decided_at": at, "sent_at": at}  # fmt: skip
    return row | other


def test_only_the_drawn_who_stayed_uncontacted_are_a_holdout() -> None:
    notes = [note("in", START - DAY), note("late", START + DAY), note("ends", START - DAY, (START + 10 * DAY).date()),
             note("spoiled", START - DAY), note("served", START - DAY), note("other", START - DAY, flag="prefers_branch")]  # fmt: skip
    contacts = [marketed("spoiled", 3), marketed("in", 40), marketed("served", 3, purpose="service")]
    found = never_contacted(
        rows("in", "late", "ends", "spoiled", "served", "other", "nobody"),
        table("notes", notes),
        table("contacts", contacts),
    )
    assert found["customer_id"].to_list() == ["in", "served"]


def test_age_bands_begin_on_birthdays() -> None:
    born = pl.DataFrame({"b": [date(1996, 1, 3), date(1995, 12, 31), date(1966, 1, 1), None], "t": [START] * 4})
    assert born.select(age_band(pl.col("b"), pl.col("t")))["literal"].to_list() == ["18-29", "30-44", "60+", ""]
