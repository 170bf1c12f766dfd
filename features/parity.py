"""Whether what a decision reads equals what models were trained on: `latest` against `as_of`.

The same facts are told to both. `as_of` reads them in the bank's tables; `latest` is given an older
snapshot and hears what was booked and said since from a ledger made up for the purpose, so that it
goes the whole of its own road: one customer at a time, and many at once.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import sqlalchemy
from pydantic import BaseModel

from features.holdings import OWNERS
from features.measures import LASTS, RATIOS, windows
from features.settings import horizon_days
from features.shares import SHARE_DAYS
from features.source import Source
from features.store import FeatureStore, StoreError
from features.tables import MARKETING_CHANNELS

SAMPLE = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLES = (
    "CREATE TABLE events (event_id, customer_id, kind, amount_minor INT, currency, balance_after_minor INT, booked_at INT, recorded_at INT, transaction_id)",
    "CREATE TABLE consents (customer_id, purpose, channel, state, at INT, received_at INT)",
    "CREATE INDEX of_customer ON events (customer_id, booked_at)",
)


class FeatureParity(BaseModel):
    """One feature: customers whose values differ, and those where only `as_of` or only `latest` has one.

    `read` says what it is compared with: `now` - as_of at the same instant; `base` - as_of at the
    snapshot's instant, for features that stand still between two nights; `aged` - the same, and
    older by the time since. `unclear`: not compared, because an event does not say which of
    several accounts it moved.
    """

    name: str
    read: str
    mismatch: int
    missing: int
    extra: int
    unclear: int


class ParityAnswer(BaseModel):
    """`nbo features parity --json`: per feature the differences; `differences` is their sum."""

    at: datetime
    base_as_of: datetime
    customers: int
    events: int
    consents: int
    differences: int
    features: list[FeatureParity]

    @property
    def lines(self) -> list[str]:
        """The features that differ, then the sum."""
        wrong = [
            f"{f.name}: mismatch {f.mismatch}, missing {f.missing}, extra {f.extra}"
            for f in self.features
            if f.mismatch + f.missing + f.extra
        ]
        heard = f"{self.events} events and {self.consents} consents since {self.base_as_of:%FT%TZ}"
        unclear = max((f.unclear for f in self.features), default=0)
        total = f"{self.differences} differences in {len(self.features)} features of {self.customers} customers"
        return [*wrong, f"{total} at {self.at:%FT%TZ}; {heard}; {unclear} balances unclear"]


def rolled_features(source: Source) -> frozenset[str]:
    """Names of the features that are rolled to the present online."""
    currencies = [c.lower() for c in source.settings.currencies]
    names = {w.name for w in windows(source.settings.currencies)}
    names |= {f"balance_{c}_minor" for c in currencies} | {"balance_total_minor"}
    names |= {f"outflow_share_{c}_{d}d" for c in currencies for d in SHARE_DAYS}
    names |= {*RATIOS, *(f"days_since_last_{name}" for name in LASTS)}
    words = {f"consent_marketing_{channel}" for channel in MARKETING_CHANNELS}
    return frozenset(names | words | {f"{word}_age_days" for word in words})


def parity(store: FeatureStore, source: Source, at: datetime, sample: int = SAMPLE) -> ParityAnswer:
    """Compare `latest` with `as_of` for some customers of the newest snapshot before `at`.

    Args:
        store: The home's features.
        source: The home's tables.
        at: The instant of the comparison.
        sample: Customers at most, evenly spread.

    Raises:
        StoreError: No snapshot stands near enough before `at`.
    """
    base = store.newest(at - timedelta(microseconds=1)) or store.newest(at)
    if base is None or at - base.as_of > timedelta(days=horizon_days(source.settings)):
        raise StoreError(
            f"no snapshot of the {horizon_days(source.settings)} days before `{at:%FT%TZ}`; nbo features build"
        )
    ids = base.ids.gather_every(max(-(-len(base.ids) // sample), 1)).to_list()
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        events, consents = _tell(connection, source, ids, base.as_of, at)
        alone = [store.latest([customer], at, connection, base) for customer in ids]
        together = store.latest(ids, at, connection, base)
    now, then = (store.as_of(pa.table({"customer_id": ids, "as_of": pa.array([t] * len(ids), pa.timestamp("us", "UTC"))}))
                 for t in (at, base.as_of))  # fmt: skip
    found, age = pa.Table.from_batches(alone), (at - base.as_of) / timedelta(days=1)
    unclear = _unclear(source, ids, events, base.as_of)
    features = [
        _compared(f.name, found, together, now, then, age, rolled_features(source), unclear) for f in store.declared
    ]
    return ParityAnswer(
        at=at, base_as_of=base.as_of, customers=len(ids), events=len(events), consents=consents, features=features,
        differences=sum(f.mismatch + f.missing + f.extra for f in features),
    )  # fmt: skip


def _tell(connection: sqlalchemy.Connection, source: Source, ids: Sequence[str], base: datetime,
          at: datetime) -> tuple[pl.DataFrame, int]:  # fmt: skip
    """Enter what was booked and said since the base; the events, and how many words were said."""
    for statement in _TABLES:
        connection.exec_driver_sql(statement)
    booked, recorded, mine = pl.col("booked_at"), pl.col("recorded_at"), pl.col("customer_id").is_in(ids)
    events = source.scan("transactions").filter(
        mine, booked < at, recorded <= at, (booked >= base) | (recorded > base)
    ).select(
        "transaction_id", "customer_id", "kind", "amount_minor", "currency", "balance_after_minor",
        booked.dt.epoch("us"), recorded.dt.epoch("us"),
    ).collect()  # fmt: skip
    if len(events):
        connection.exec_driver_sql("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", events.rows())
    if not source.has("consents"):
        return events, 0
    said = source.scan("consents").filter(mine, pl.col("at").is_between(base, at, closed="left")).select(
        "customer_id", "purpose", "channel", "state", pl.col("at").dt.epoch("us"), received_at=pl.col("at").dt.epoch("us")
    ).collect()  # fmt: skip
    if len(said):
        connection.exec_driver_sql("INSERT INTO consents VALUES (?, ?, ?, ?, ?, ?)", said.rows())
    return events, len(said)


def _unclear(source: Source, ids: Sequence[str], events: pl.DataFrame, base: datetime) -> dict[str, set[str]]:
    """Currency -> customers one of whose several or joint accounts in it has moved, or whose one did so long ago."""
    if not (source.has("accounts") and source.has("holders")):
        return {}
    owner = pl.col("role").is_in(OWNERS)
    holders = source.whole("holders", ("account_id", "customer_id", "role"))
    owned = holders.with_columns(joint=~owner | (owner.sum().over("account_id") > 1)).join(
        source.whole("accounts", ("account_id", "currency")), on="account_id"
    )
    several = owned.filter(
        pl.col("joint").any().over("customer_id", "currency") | (pl.len().over("customer_id", "currency") > 1)
    )
    # A joint holder's balance moves with the other's events, of which the ledger tells only the other's.
    moved = several.filter(pl.col("joint") | pl.col("customer_id").is_in(events["customer_id"].implode()))
    since = (base - EPOCH) // timedelta(microseconds=1)
    late = events.filter(pl.col("booked_at") < since).select("customer_id", "currency")
    chosen = pl.concat([moved.select("customer_id", "currency"), late]).filter(pl.col("customer_id").is_in(ids))
    return {str(c): set(rows["customer_id"]) for (c,), rows in chosen.partition_by("currency", as_dict=True).items()}


def _compared(name: str, alone: pa.Table, together: pa.RecordBatch, now: pa.Table, then: pa.Table, age: float,
              rolled: frozenset[str], unclear: dict[str, set[str]]) -> FeatureParity:  # fmt: skip
    aged = name.startswith("days_since_") and name not in rolled
    read = "now" if name in rolled else "aged" if aged else "base"
    expected: list[Any] = (now if read == "now" else then).column(name).to_pylist()
    if aged:
        expected = [None if value is None else value + age for value in expected]
    answer = FeatureParity(name=name, read=read, mismatch=0, missing=0, extra=0, unclear=0)
    skipped = set[str]().union(*(who for c, who in unclear.items() if _is_about(name, c.lower())))
    rows = zip(alone.column("customer_id").to_pylist(), alone.column(name).to_pylist(), together.column(name).to_pylist(),
               expected, strict=True)  # fmt: skip
    for customer, one, many, wanted in rows:
        if customer in skipped:
            answer.unclear += 1
        elif wanted is not None and (one is None or many is None):
            answer.missing += 1
        elif wanted is None and not (one is None and many is None):
            answer.extra += 1
        elif not (_same(one, wanted) and _same(many, wanted)):
            answer.mismatch += 1
    return answer


def _is_about(name: str, currency: str) -> bool:
    return name in (f"balance_{currency}_minor", "balance_total_minor") or name.startswith(f"outflow_share_{currency}_")


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) and isinstance(wanted, float):
        # Instants are exact to the microsecond, money to the minor unit; only quotients may round.
        return math.isclose(found, wanted, rel_tol=1e-12, abs_tol=1e-11)
    return found == wanted
