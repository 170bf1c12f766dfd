from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from features.tables import TABLES
from training.labels import (
    churn_labels,
    contact_labels,
    lapse_labels,
    months,
    who_may_be_learned_from,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
CUT = datetime(2026, 6, 1, tzinfo=UTC)


def table(name: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    empty = pl.from_arrow(TABLES[name].schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return pl.concat([empty, pl.DataFrame(rows, schema=empty.schema)]) if rows else empty


def contact(key: str, **other: object) -> dict[str, object]:
    row: dict[str, object] = {
        "contact_id": key,
        "customer_id": "K1",
        "offer_id": "card",
        "channel": "sms",
        "direction": "outbound",
        "purpose": "marketing",
        "decided_at": START,
        "sent_at": START,
    }
    return row | other


def outcome(key: str, kind: str, days: float) -> dict[str, object]:
    return {"contact_id": key, "kind": kind, "at": START + timedelta(days=days)}


def labels(
    contacts: list[dict[str, object]],
    outcomes: list[dict[str, object]] | None = None,
    cases: list[dict[str, object]] | None = None,
    consents: list[dict[str, object]] | None = None,
    cut: datetime = CUT,
) -> dict[str, dict[str, object]]:
    rows = contact_labels(
        table("contacts", contacts),
        table("outcomes", outcomes or []),
        table("cases", cases or []),
        table("consents", consents or []),
        cut,
    )
    return {str(row["contact_id"]): row for row in rows.to_dicts()}


def verdict(row: dict[str, object]) -> tuple[object, object, object]:
    return row["reached"], row["accepted"], row["harmed"]


@pytest.mark.parametrize(
    ("kind", "days", "expected"),
    [
        ("delivered", 1, (False, False, False)),
        ("no_response", 1, (False, False, False)),
        ("opened", 1, (True, False, False)),
        ("refused", 1, (True, False, False)),
        ("later", 1, (True, False, False)),
        ("accepted", 30, (True, True, False)),
        ("accepted", 30.01, (False, False, False)),
        ("complained", 30, (False, False, True)),
        ("opted_out", 31, (False, False, False)),
        ("do_not_call", 1, (False, False, True)),
        ("accepted", -1, (False, False, False)),
    ],
)
def test_each_outcome_gives_its_label(kind: str, days: float, expected: tuple[bool, bool, bool]) -> None:
    assert verdict(labels([contact("A")], [outcome("A", kind, days)])["A"]) == expected


def test_answer_by_replaces_the_thirty_days() -> None:
    long = contact("A", answer_by=START + timedelta(days=60))
    short = contact("B", answer_by=START + timedelta(days=5))
    found = labels([long, short], [outcome("A", "accepted", 59), outcome("B", "accepted", 6)])
    assert [found["A"]["accepted"], found["B"]["accepted"]] == [True, False]


def test_service_inbound_and_unsent_contacts_are_not_learned_from() -> None:
    others = [
        contact("A", purpose="service"),
        contact("B", direction="inbound"),
        contact("C", sent_at=None),
    ]
    assert labels(others) == {}


@pytest.mark.parametrize(("days", "harmed"), [(7, True), (7.01, False), (-0.01, False)])
def test_complaint_case_within_a_week_is_harm(days: float, harmed: bool) -> None:
    case = {
        "case_id": "X",
        "customer_id": "K1",
        "kind": "complaint",
        "opened_at": START + timedelta(days=days),
    }
    assert labels([contact("A")], cases=[case])["A"]["harmed"] is harmed


@pytest.mark.parametrize(
    ("channel", "state", "harmed"),
    [
        ("sms", "withdrawn", True),
        ("all", "withdrawn", True),
        ("email", "withdrawn", False),
        ("sms", "denied", False),
    ],
)
def test_consent_withdrawn_for_the_channel_is_harm(channel: str, state: str, harmed: bool) -> None:
    said = {"customer_id": "K1", "purpose": "marketing", "channel": channel, "state": state,
            "at": START + timedelta(days=3)}  # fmt: skip
    assert labels([contact("A")], consents=[said])["A"]["harmed"] is harmed


def test_unripe_label_is_absent_even_when_the_answer_came_early() -> None:
    early = START + timedelta(days=29)
    row = labels([contact("A")], [outcome("A", "accepted", 1), outcome("A", "complained", 2)], cut=early)["A"]
    assert verdict(row) == (None, None, None)
    assert labels([contact("A")], cut=START + timedelta(days=30))["A"]["accepted"] is False


def test_answers_after_the_cut_change_no_ripe_label() -> None:
    cut = START + timedelta(days=30)
    later = [outcome("A", "accepted", 31), outcome("A", "complained", 40)]
    assert verdict(labels([contact("A")], later, cut=cut)["A"]) == (False, False, False)


def test_churn_is_closing_the_last_account_within_sixty_days() -> None:
    opened = date(2025, 1, 1)
    accounts = table(
        "accounts",
        [
            {
                "account_id": a,
                "product": "current",
                "currency": "CNY",
                "opened_on": opened,
                "closed_on": closed,
            }
            for a, closed in (
                ("gone", date(2026, 2, 15)),
                ("kept", None),
                ("late", date(2026, 3, 3)),
                ("past", date(2025, 6, 1)),
            )
        ],
    )
    holders = table(
        "holders",
        [
            {"account_id": a, "customer_id": c, "role": "owner"}
            for a, c in (
                ("gone", "leaves"),
                ("gone", "stays"),
                ("kept", "stays"),
                ("late", "later"),
                ("past", "left_before"),
            )
        ],
    )
    rows = churn_labels(accounts, holders, [START], CUT)
    assert dict(rows.select("customer_id", "churned").iter_rows()) == {
        "leaves": True,
        "stays": False,
        "later": False,
    }
    assert churn_labels(accounts, holders, [START], START + timedelta(days=59))["churned"].to_list() == [None] * 3


def test_lapse_is_silence_for_six_weeks_after_buying() -> None:
    def bought(who: str, days: float) -> dict[str, object]:
        return {"customer_id": who, "booked_at": START + timedelta(days=days)}

    rows = pl.DataFrame(
        [
            bought("back", -3),
            bought("back", 41),
            bought("lapsed", -3),
            bought("lapsed", 43),
            bought("long_gone", -100),
            bought("end", 60),
        ]
    ).cast({"booked_at": pl.Datetime("us", "UTC")})
    found = lapse_labels(rows, [START], CUT)
    assert dict(found.select("customer_id", "churned").iter_rows()) == {
        "back": False,
        "lapsed": True,
    }
    ends_early = rows.filter(pl.col("booked_at") < START + timedelta(days=42))
    assert lapse_labels(ends_early, [START], CUT)["churned"].to_list() == [None, None]


def test_minors_and_the_protected_are_kept_out() -> None:
    people: list[dict[str, object]] = [
        {"customer_id": "adult", "birth_date": date(2008, 1, 1)},
        {"customer_id": "minor", "birth_date": date(2008, 1, 2)},
        {"customer_id": "firm"},
        {"customer_id": "vulnerable", "vulnerable": True},
        {"customer_id": "deceased", "deceased": True},
        {"customer_id": "objects", "no_profiling": True},
    ]
    rows = pl.DataFrame({"customer_id": [p["customer_id"] for p in people], "as_of": [START] * 6})
    kept = who_may_be_learned_from(rows, table("customers", people))
    assert kept["customer_id"].to_list() == ["adult", "firm"]


def test_months_begin_at_local_midnight() -> None:
    assert months(datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)) == [
        datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)]  # fmt: skip
