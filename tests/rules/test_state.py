"""The ledger's state columns: hand-worked cases, and the table reading against the plain one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from rules.cooloffs import DAY_MICROS
from rules.state import AnswerFact, ContactFact, SuppressionFact, contact_state, customer_state
from rules.types import INSTANT
from tests import bank

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AT = int(NOW.timestamp()) * 1_000_000
WINDOW = (AT, AT + DAY_MICROS // 2)


def state(
    contacts: list[ContactFact] = [], answers: list[AnswerFact] = [], suppressions: list[SuppressionFact] = []
) -> dict[str, float]:
    return customer_state(bank.policy(), bank.catalogue(), "A", WINDOW, contacts, answers, suppressions)


def contact(days: float, channel: str = "sms", customer: str = "A", family: str = "card") -> ContactFact:
    at = AT + int(days * DAY_MICROS)
    return ContactFact(customer, channel, family, at, at)


def test_contacts_count_within_the_window_back_and_forward() -> None:
    found = state([contact(-1), contact(-6.9), contact(-7), contact(-8), contact(3), contact(7.4), contact(7.5)])
    assert found["contacts_sms_marketing_7d"] == 4  # -7 days exactly is over, the send window reaches half a day ahead
    assert found["contacts_all_marketing_7d"] == 4
    assert found["contacts_call_marketing_30d"] == 0


def test_p11_the_units_contacts_count_for_the_unit_and_the_persons_for_the_person() -> None:
    found = state([contact(-0.5, customer="B")])
    assert found["unit_contacts_all_marketing_1d"] == 1
    assert found["contacts_all_marketing_7d"] == 0


def test_p10_a_cool_off_ends_after_its_days() -> None:
    refused = AnswerFact("refused", AT - 59 * DAY_MICROS, "wealth", "wealth_usd_income", "call")
    assert state(answers=[refused])["cooloff_refused_wealth_days_left"] == 1
    assert state(answers=[refused])["cooloff_refused_card_days_left"] == 0
    over = refused._replace(at=AT - 60 * DAY_MICROS)
    assert state(answers=[over])["cooloff_refused_wealth_days_left"] == 0


def test_an_answer_of_the_future_is_not_known_yet() -> None:
    assert (
        state(answers=[AnswerFact("refused", AT + 1, "wealth", "x", "call")])["cooloff_refused_wealth_days_left"] == 0
    )


def test_the_table_reading_equals_the_plain_one() -> None:
    rng = np.random.default_rng(5)
    policy, catalogue = bank.policy(), bank.catalogue()
    people = [(f"C{k:03d}", f"U{k // 2:03d}") for k in range(60)]
    contacts, outcomes = _ledger(rng, people)
    stretches = [{"suppression_id": f"s{k}", "rule_id": "outflow", "customer_id": people[int(rng.integers(60))][0], "unit_id": "",
                  "currency": str(rng.choice(["USD", "EUR"])), "opened_at": AT - int(rng.integers(0, 60)) * DAY_MICROS,
                  "closed_at": None if rng.random() < 0.7 else AT - DAY_MICROS} for k in range(60)]  # fmt: skip
    stretches = [row | {"ends_at": row["opened_at"] + 45 * DAY_MICROS} for row in stretches]
    send = [NOW + timedelta(hours=int(rng.integers(0, 10))) for _ in people]
    customers = pa.table({"customer_id": [c for c, _ in people], "unit_id": [u for _, u in people],
                          "send_after": pa.array(send, INSTANT), "send_before": pa.array([s + timedelta(hours=5) for s in send], INSTANT)})  # fmt: skip
    table = contact_state(
        policy, catalogue, _arrow(contacts), _arrow(outcomes), _arrow(stretches), customers
    ).to_pylist()
    for place, (customer, unit) in enumerate(people):
        window = tuple(int(t.timestamp()) * 1_000_000 for t in (send[place], send[place] + timedelta(hours=5)))
        plain = customer_state(
            policy, catalogue, customer, (window[0], window[1]),
            [_fact(c) for c in contacts if c["unit_id"] == unit and c["state"] != "closed" and c["purpose"] == "marketing" and c["direction"] == "outbound"],
            [AnswerFact(o["kind"], o["at"], o["family"], o["offer_id"], o["channel"]) for o in outcomes if o["customer_id"] == customer],
            [SuppressionFact(s["rule_id"], s["currency"], s["opened_at"], s["ends_at"], s["closed_at"]) for s in stretches if s["customer_id"] == customer])  # fmt: skip
        assert table[place] == plain
    assert sum(row["contacts_sms_marketing_7d"] for row in table) > 0
    assert any(row["suppressed_outflow_usd_days_left"] > 0 for row in table)
    assert any(row["cooloff_refused_wealth_days_left"] > 0 for row in table)


def _ledger(
    rng: np.random.Generator, people: list[tuple[str, str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    contacts: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for k in range(400):
        customer, unit = people[int(rng.integers(60))]
        offer = bank.catalogue().offers[int(rng.integers(10))]
        at = AT + int(rng.integers(-40, 10) * DAY_MICROS // 2)
        sent = rng.random() < 0.6
        row = {"contact_id": f"k{k}", "customer_id": customer, "unit_id": unit, "offer_id": offer.id, "family": offer.family,
               "channel": str(rng.choice(["sms", "email", "call"])), "purpose": "marketing" if rng.random() < 0.9 else "service",
               "direction": "outbound" if rng.random() < 0.9 else "inbound", "state": str(rng.choice(["reserved", "claimed", "sent", "closed"])),
               "decided_at": at, "send_after": at, "send_before": at + DAY_MICROS // 4, "sent_at": at + 1 if sent else None}  # fmt: skip
        contacts.append(row)
        if rng.random() < 0.3:
            kind = str(rng.choice(["refused", "later", "complained", "opened"]))
            outcomes.append({"contact_id": row["contact_id"], "kind": kind, "at": at, "customer_id": customer, "family": offer.family,
                             "offer_id": offer.id, "channel": row["channel"]})  # fmt: skip
    return contacts, outcomes


def _fact(row: dict[str, Any]) -> ContactFact:
    starts, ends = (
        (row["sent_at"], row["sent_at"]) if row["sent_at"] is not None else (row["send_after"], row["send_before"])
    )
    return ContactFact(row["customer_id"], row["channel"], row["family"], starts, ends)


def _arrow(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)
