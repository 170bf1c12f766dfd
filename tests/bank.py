"""The shipped retail policy with a made-up population: columns, customers and scores for tests."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import rules
from rules.catalogue import Catalogue, load_catalogue
from rules.column import read_columns
from rules.policy import ContactPolicy, load_policy
from rules.terms import Audience, Terms, Wording
from rules.types import CUSTOMERS, scores_schema

POLICIES = Path(rules.__file__).parent / "policies"
TEXTS = {"kind": "person", "language": "zh", "time_zone": "Asia/Shanghai"}
NOON = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)  # 12:00 in Shanghai

# Campaigns that name wordings: of one language, of both, the same cell in another one, none at all, and none of them.
WORDED = (Audience("dollars", ("deposit_usd_6m", "wealth_usd_income"), ("sms", "call"), "balance_usd_minor > 100",
                   (Wording("wealth_usd_sms_1", ("en",)), Wording("deposit_usd_sms_1"))),
          Audience("cards", ("card_gold", "wealth_usd_income"), ("sms", "app"), "age_years < 60 OR staff", (Wording("wealth_usd_sms_1", ("zh",)),)),
          Audience("mute", ("card_gold", "wealth_usd_income"), ("sms", "app"), "TRUE", ()),
          Audience("all_year", ("deposit_cny_12m", "retention_bonus"), ("app", "branch")))  # fmt: skip


@cache
def catalogue() -> Catalogue:
    """The retail catalogue as shipped."""
    return load_catalogue(POLICIES / "retail.catalogue.yaml")


@cache
def _declared() -> pa.Schema:
    return read_columns(POLICIES / "retail.columns.yaml")


def feature_columns(of: Catalogue) -> pa.Schema:
    """The feature columns of the example bank, as shipped, that are there for the catalogue's products."""
    products = {f"holds_{offer.product}" for offer in of.offers if offer.product}
    return pa.schema([f for f in _declared() if not f.name.startswith("holds_") or f.name in products])


@cache
def policy() -> ContactPolicy:
    """The retail policy as shipped, checked."""
    return load_policy(POLICIES / "retail.yaml", catalogue(), feature_columns(catalogue()))


def terms(**changes: Any) -> Terms:
    """Terms of the retail policy; keyword arguments replace parts."""
    return Terms(
        **{"catalogue": catalogue(), "policy": policy(), "columns": feature_columns(catalogue()), "secret": b"test"}
        | changes
    )


def welcome(of: Terms) -> dict[str, Any]:
    """A customer to whom every offer may be made on every channel."""
    row: dict[str, Any] = {
        "customer_id": "A", "unit_id": "A", "as_of": NOON, "local_day": date(2026, 6, 1), "direction": "outbound",
        "channels": None, "send_after": NOON, "send_before": NOON + timedelta(hours=8)}  # fmt: skip
    for column in of.vocabulary:
        if pa.types.is_boolean(column.type):
            row[column.name] = column.name.startswith("reachable_")
        elif pa.types.is_string(column.type):
            row[column.name] = "granted" if column.name.startswith("consent_") else TEXTS.get(column.name, "x")
        else:
            row[column.name] = 0.0
    known = {"age_years": 40.0, "credit_grade": 2.0, "risk_tolerance": 5.0, "risk_assessment_age_days": 30.0,
             "local_minute": 720.0, "local_weekday": 1.0, "tenure_days": 900.0, "salary_sum_90d": 4e6,
             "purchase_sum_365d": 5e6, "balance_total_minor": 1e8, "maturity_ahead_days": 200.0,
             **{f"balance_{c}_minor": 1e8 for c in ("cny", "usd", "eur", "jpy")}}  # fmt: skip
    return row | {name: value for name, value in known.items() if name in row}


def population(of: Terms, n: int, seed: int, unknown: float = 0.03) -> list[dict[str, Any]]:
    """n customers in units of one to three, most of them contactable, each fact missing with chance `unknown`."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    unit = 0
    while len(rows) < n:
        for _ in range(min(int(rng.choice([1, 1, 1, 2, 3])), n - len(rows))):
            rows.append(_person(of, rng, f"C{len(rows):05d}", f"U{unit:05d}", unknown))
        unit += 1
    return rows


def _person(of: Terms, rng: np.random.Generator, customer: str, unit: str, unknown: float) -> dict[str, Any]:
    row = welcome(of) | {"customer_id": customer, "unit_id": unit}
    row["direction"] = "inbound" if rng.random() < 0.2 else "outbound"
    row["channels"] = int(rng.integers(1, 32)) if rng.random() < 0.2 else None
    for column in of.state_schema:
        chance = rng.random()
        if chance < unknown:
            row[column.name] = None
        elif chance < 0.12:
            row[column.name] = _other(column, rng)
    if row.get("local_minute") is None:
        row["local_day"] = None
    return row


def _other(column: pa.Field, rng: np.random.Generator) -> Any:
    if pa.types.is_boolean(column.type):
        return bool(rng.random() < 0.5)
    if pa.types.is_string(column.type):
        return str(rng.choice((column.metadata or {})[b"domain"].decode().split("|")))  # free text gives ""
    scale = {"balance": 1e6, "risk_a": 800, "age_ye": 90, "local_": 1440}.get(
        column.name[:6] if column.name[:7] != "balance" else "balance", 6
    )
    return float(rng.integers(0, int(scale)))


def scores(of: Terms, n: int, seed: int, unknown: float = 0.02) -> list[dict[str, Any]]:
    """Made-up model scores, one mapping per customer."""
    rng = np.random.default_rng(seed)
    offers, channels = len(of.catalogue.offers), len(of.catalogue.channels)

    def shares(k: int, top: float) -> list[float | None]:
        return [None if rng.random() < unknown else float(np.round(rng.random() * top, 6)) for _ in range(k)]

    return [{"p_interest": shares(offers, 0.3), "p_organic": shares(offers, 0.02), "p_reach": shares(channels, 0.9),
             "p_harm": shares(channels, 0.004), "p_churn": shares(1, 0.3)[0],
             "lifetime_value_minor": float(np.round(rng.random() * 3e6))} for _ in range(n)]  # fmt: skip


def customers_batch(of: Terms, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """The rows as CUSTOMERS and the state columns the policy reads."""
    schema = pa.schema([*CUSTOMERS, *of.state_schema])
    return pa.RecordBatch.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)


def scores_batch(of: Terms, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """The rows as SCORES."""
    return pa.RecordBatch.from_pylist(rows, schema=scores_schema(len(of.catalogue.offers), len(of.catalogue.channels)))
