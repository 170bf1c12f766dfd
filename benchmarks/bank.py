"""A made-up bank of any size for the benchmarks: the shipped policy, 30 offers x 5 channels, many customers."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

import rules
from rules.catalogue import Catalogue, Offer, load_catalogue
from rules.column import read_columns
from rules.policy import load_policy
from rules.terms import Terms
from rules.types import CUSTOMERS, INSTANT, scores_schema

POLICIES = Path(rules.__file__).parent / "policies"
CURRENCIES = ("CNY", "USD", "EUR", "JPY")
NOON = datetime(2026, 6, 1, 4, tzinfo=UTC)
P_OTHER, P_NULL = 0.03, 0.002  # per column: an unusual value, no value
KNOWN = {"age_years": 40.0, "credit_grade": 2.0, "risk_tolerance": 5.0, "risk_assessment_age_days": 30.0,
         "local_minute": 720.0, "local_weekday": 1.0, "tenure_days": 900.0, "salary_sum_90d": 4e6,
         "purchase_sum_365d": 5e6, "maturity_ahead_days": 200.0}  # fmt: skip
TEXTS = {"kind": "person", "language": "zh", "time_zone": "Asia/Shanghai"}


@cache
def terms(n_offers: int = 30) -> Terms:
    """The shipped retail policy over its catalogue repeated to n_offers, copies in other currencies."""
    shipped = load_catalogue(POLICIES / "retail.catalogue.yaml")
    repeated: list[Offer] = []
    for place in range(n_offers):
        copy, of = divmod(place, len(shipped.offers))
        offer = shipped.offers[of]
        currency = offer.currency and CURRENCIES[(CURRENCIES.index(offer.currency) + copy) % len(CURRENCIES)]
        changed = {"id": f"{offer.id}_{copy + 1}", "currency": currency} if copy else {}
        repeated.append(offer.model_copy(update=changed))
    catalogue = Catalogue.model_validate(shipped.model_dump() | {"offers": [o.model_dump() for o in repeated]})
    columns = read_columns(POLICIES / "retail.columns.yaml")
    return Terms(catalogue, load_policy(POLICIES / "retail.yaml", catalogue, columns), columns, secret=b"benchmark")


def customers(of: Terms, n: int, seed: int = 1, inbound: float = 0.0, nulls: float = P_NULL) -> pa.RecordBatch:
    """CUSTOMERS and state columns: most values harmless, some not, some missing; about two to a unit."""
    rng = np.random.default_rng(seed)
    directions = np.where(rng.random(n) < inbound, "inbound", "outbound")
    when = pa.repeat(pa.scalar(NOON, INSTANT), n)
    fixed = {"customer_id": pa.array([f"C{i:08d}" for i in range(n)]),
             "unit_id": pa.array([f"U{i:08d}" for i in np.sort(rng.integers(0, n, n)).tolist()]), "as_of": when,
             "local_day": pa.repeat(pa.scalar(NOON.date()), n), "direction": pa.array(directions.tolist(), pa.string()),
             "channels": pa.nulls(n, pa.uint64()), "send_after": when,
             "send_before": pa.repeat(pa.scalar(NOON.replace(hour=12), INSTANT), n)}  # fmt: skip
    state = [_column(field, n, rng, nulls) for field in of.state_schema]
    arrays = [*(fixed[field.name] for field in CUSTOMERS), *state]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([*CUSTOMERS, *of.state_schema]))


def _column(field: pa.Field, n: int, rng: np.random.Generator, nulls: float) -> pa.Array:
    name, chance = field.name, rng.random(n, dtype=np.float32)
    mask, other = chance < nulls, chance > 1 - P_OTHER
    if pa.types.is_boolean(field.type):
        return pa.array(other ^ name.startswith("reachable_"), mask=mask)
    if pa.types.is_string(field.type):
        domain = (field.metadata or {}).get(b"domain", b"").decode().split("|")
        usual = "granted" if name.startswith("consent_") else TEXTS.get(name, domain[0])
        codes = np.where(other, rng.integers(0, len(domain), n), domain.index(usual) if usual in domain else 0)
        return pa.array(domain, pa.string()).take(pa.array(codes, mask=mask))
    usual = KNOWN.get(name, 1e8 if name.startswith("balance_") else 0.0)
    return pa.array(np.where(other, np.floor(rng.random(n) * max(8.0, usual)), usual), mask=mask)


def scores(of: Terms, n: int, seed: int = 2) -> pa.RecordBatch:
    """SCORES of n customers, all known."""
    rng = np.random.default_rng(seed)
    schema = scores_schema(len(of.catalogue.offers), len(of.catalogue.channels))
    tops = {"p_interest": 0.3, "p_organic": 0.02, "p_reach": 0.9, "p_harm": 0.004, "p_churn": 0.3}
    arrays: list[pa.Array] = []
    for field in schema:
        width = field.type.list_size if pa.types.is_fixed_size_list(field.type) else 1
        flat = pa.array(rng.random(n * width) * tops.get(field.name, 3e6))
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type) if width > 1 else flat)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def changed(of: Terms, **changes: object) -> Terms:
    """The same terms with other parts, compiled."""
    found = replace(of, **changes)  # type: ignore[arg-type]
    assert found.program.n_cells
    return found
