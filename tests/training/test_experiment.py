"""The bank's own experiment, by hand and beside a plain reading of the tables."""

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.training.test_labels import CUT, START, table
from tests.training.test_takeup import DAY, account, marketed, note
from training.crossfit import plain_dataset
from training.errors import DatasetError
from training.experiment import OUTCOME_DAYS, experiment_rows, in_time

SEED, LONG_AGO = 7, datetime(2025, 1, 1)
PRODUCTS = {"gold": "card", "credit": "loan"}
Rows = list[dict[str, Any]]


def found(contacts: Rows, notes: Rows, accounts: Rows, cut: datetime = CUT) -> Rows:
    """An account's id begins with its owner's."""
    holders = [
        {"account_id": a["account_id"], "customer_id": a["account_id"].split("-")[0], "role": "owner"} for a in accounts
    ]
    return experiment_rows(table("contacts", contacts), table("notes", notes), table("accounts", accounts),
                           table("holders", holders), PRODUCTS, cut, SEED).to_dicts()  # fmt: skip


def about(customer: str, days: float, offer: str = "gold", **other: object) -> dict[str, object]:
    return marketed(customer, days, offer_id=offer, **other)


def here(*customers: str) -> Rows:
    return [account(f"{who}-0", "current", LONG_AGO) for who in customers]


def test_a_contact_stands_beside_a_held_out_customer_of_the_same_instant() -> None:
    accounts = [*here("K", "H"), account("K-1", "card", START + 5 * DAY)]
    rows = found([about("K", 0)], [note("H", START - DAY)], accounts)
    assert [(row["customer_id"], row["treated"], row["taken"]) for row in rows] == [
        ("H", False, False),
        ("K", True, True),
    ]
    assert {row["as_of"] for row in rows} == {START} and {row["offer_id"] for row in rows} == {"gold"}
    assert {row["label_end"] - START for row in rows} == {(OUTCOME_DAYS + 1) * DAY}


@pytest.mark.parametrize(
    ("days", "taken"), [(0, True), (OUTCOME_DAYS, True), (OUTCOME_DAYS + 1, False), (-1, None), (-400, None)]
)
def test_the_outcome_counts_from_the_day_of_the_contact(days: int, taken: bool | None) -> None:
    accounts = [*here("K", "H"), account("K-1", "card", START + days * DAY)]
    rows = [row for row in found([about("K", 0)], [note("H", START - DAY)], accounts) if row["treated"]]
    assert [row["taken"] for row in rows] == ([] if taken is None else [taken])


@pytest.mark.parametrize(
    "change",
    [
        {"offer": "bonus"}, {"purpose": "service"}, {"direction": "inbound"}, {"sent_at": None},
    ],
)  # fmt: skip
def test_what_is_no_contact_about_a_product_is_no_row(change: dict[str, Any]) -> None:
    offer = change.pop("offer", "gold")
    assert found([about("K", 0, offer) | change], [note("H", START - DAY)], here("K", "H")) == []


def test_young_contacts_and_those_without_an_account_are_left_out() -> None:
    notes = [note("H", START - DAY)]
    assert found([about("K", 0)], notes, here("K", "H"), START + OUTCOME_DAYS * DAY) == []
    assert len(found([about("K", 0)], notes, here("K", "H"), START + (OUTCOME_DAYS + 1) * DAY)) == 2
    assert [row["customer_id"] for row in found([about("K", 0)], notes, here("H"))] == ["H"]


def test_without_a_holdout_there_is_no_experiment() -> None:
    """Mutants: another flag taken for a holdout; one that was marketed to all the same kept in it."""
    assert found([about("K", 0)], [], here("K", "H")) == []
    assert found([about("K", 0)], [note("H", START - DAY, flag="prefers_branch")], here("K", "H")) == []
    spoiled = found([about("K", 0), about("H", 3)], [note("H", START - DAY)], here("K", "H"))
    assert all(row["treated"] for row in spoiled)


def test_p28_it_reads_as_the_tables_say() -> None:
    """The oracle reads day by day; a late opening, or one before the contact, never counts."""
    rng = np.random.default_rng(3)
    people, held = [f"K{i}" for i in range(30)], [f"H{i}" for i in range(10)]
    accounts = here(*people, *held)
    for number, who in enumerate([*people, *held] * 2):
        opened = START + int(rng.integers(-60, 90)) * DAY
        closed = (opened + int(rng.integers(1, 60)) * DAY).date() if rng.random() < 0.4 else None
        accounts.append(account(f"{who}-{number + 1}", ("card", "loan")[number % 2], opened, closed))
    contacts = [about(who, float(rng.integers(0, 40)), ("gold", "credit")[n % 2]) for n, who in enumerate(people * 4)]
    contacts = list({row["contact_id"]: row for row in contacts}.values())
    rows = found(contacts, [note(who, START - DAY) for who in held], accounts, START + 200 * DAY)
    assert len(rows) > 100 and {row["treated"] for row in rows} == {True, False}
    assert all(
        row["taken"] is plainly(accounts, row["customer_id"], row["offer_id"], row["as_of"].date()) for row in rows
    )
    asked = {(c["customer_id"], c["offer_id"], c["decided_at"]) for c in contacts}
    kept = {key for key in asked if plainly(accounts, key[0], key[1], key[2].date()) is not None}
    assert {(r["customer_id"], r["offer_id"], r["as_of"]) for r in rows if r["treated"]} == kept


def plainly(accounts: Rows, who: str, offer: str, day: date) -> bool | None:
    """Whether the product was opened in the days that count; None: it was held the day before."""
    mine = [a for a in accounts if a["account_id"].split("-")[0] == who and a["product"] == PRODUCTS[offer]]
    eve = day - timedelta(days=1)
    if any(a["opened_on"] <= eve and (a["closed_on"] is None or a["closed_on"] > eve) for a in mine):
        return None
    return any(a["opened_on"] == day + timedelta(days=d) for a in mine for d in range(OUTCOME_DAYS + 1))


def test_p28_nothing_is_learned_that_was_not_known_when_the_later_rows_begin() -> None:
    at = np.arange(100) * 86_400_000_000
    end = at + 5 * 86_400_000_000
    data = plain_dataset((), np.empty((100, 0)), np.tile([0.0, 1.0], 50))
    data = type(data)(**{**data.__dict__, "at": at})
    fit, test, folds = in_time(data, data.label, end, SEED)
    assert len(test) == 20 and end[fit].max() <= at[test].min()
    assert folds and all(end[fit[f.fit]].max() <= at[fit[f.hold]].min() for f in folds)
    with pytest.raises(
        DatasetError,
        match=r"^contacts of 99 days are too few to learn from earlier ones and measure on later ones; wait, or import more$",
    ):
        in_time(data, data.label, end + 10**15, SEED)
