"""How it was the last time: amounts of the last bookings, balances around them.

From the booking order; a night moves them on with the new bookings alone. Online they stand as of the night before.
"""

from collections.abc import Mapping

import polars as pl

from features.bookings import bookings, of_kinds
from features.measures import in_base
from features.source import Source
from features.view import Feature, FeatureView, Pairs
from features.windows import DAY_MICROS, local_days

LAST = {
    "last_transaction": ("any booking", (), "上次交易"),
    "last_purchase": ("purchase", ("purchase",), "上次消费"),
    "last_salary": ("salary", ("salary",), "上次工资"),
}
BALANCED = ("last_transaction", "last_salary")  # the balance stated with it is a feature, and the one before it
SIDES = {"before": "前", "after": "后"}
LAST_COLUMNS = (
    *(f"{name}_minor" for name in LAST),
    *(f"balance_{when}_{name}_minor" for name in BALANCED for when in SIDES),
)
_TABLE = "transactions"


def _declare(source: Source) -> tuple[Feature, ...]:
    money = f"{source.settings.currency} minor"
    rate = "there was none, or its rate is missing"
    told = [
        Feature(f"{name}_minor", "number", money, rate, _TABLE, f"amount of the last {en.removeprefix('any ')}", f"{zh}金额")
        for name, (en, _, zh) in LAST.items()
    ]  # fmt: skip
    stated = "there was none, no balance was stated with it, or its rate is missing"
    return (*told, *(
        Feature(f"balance_{when}_{name}_minor", "number", money, stated, _TABLE,
                f"balance of the account {when} the last {LAST[name][0].removeprefix('any ')}", f"{LAST[name][2]}{zh}余额")
        for name in BALANCED for when, zh in SIDES.items()
    ))  # fmt: skip


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    log, found = bookings(pairs, source), dict[str, pl.Series]()
    for name, (_, kinds, _) in LAST.items():
        stated = ("amount_minor", "balance_after_minor", "currency", "day") if name in BALANCED else ()
        last = log.last(pairs.frame, of_kinds(kinds), ("base", *stated))
        found[f"{name}_minor"] = last["base"].cast(pl.Float64)
        if stated:
            found |= {f"balance_{when}_{name}_minor": s for when, s in _balances(last, source).items()}
    return found


def _balances(rows: pl.DataFrame, source: Source) -> dict[str, pl.Series]:
    """Balance before and after each booking in base minor units; null: not stated, or no rate."""
    after = rows["balance_after_minor"]
    stated = {"before": after - rows["amount_minor"], "after": after}
    return {when: in_base(amount, rows["currency"], rows["day"], source) for when, amount in stated.items()}


def _valued(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The rows with what amount and balances were worth in base minor units."""
    placed = rows.with_columns(day=local_days(rows["booked_at"], source.settings.tz))
    worth = in_base(placed["amount_minor"], placed["currency"], placed["day"], source)
    return placed.with_columns(worth=worth, **_balances(placed, source))


def last_moved_on(base: pl.DataFrame, bookings: pl.DataFrame, since: int, source: Source) -> pl.DataFrame:
    """The last values after new bookings, from those before: customer_id, `unsure`, the values.

    Args:
        base: customer_id, the recencies and the last values as of `since`.
        bookings: customer_id and COLUMNS of what became visible since.
        since: Microseconds.
        source: The bank's currencies, zone and rates.

    Returns:
        One row a row of base. Unsure: a new booking and the last one happened at once.
    """
    rows = _valued(bookings, source).sort("booked_at", "recorded_at", "transaction_id")
    moved = base.with_columns(unsure=pl.lit(False))
    for name, (_, kinds, _) in LAST.items():
        chosen = rows.filter(pl.col("kind").is_in(kinds)) if kinds else rows
        last = chosen.group_by("customer_id").last().select("customer_id", "booked_at", "worth", *SIDES)
        joined = moved.join(last, on="customer_id", how="left", maintain_order="left")
        before = since - (pl.col(f"days_since_{name}") * DAY_MICROS).round().cast(pl.Int64)
        newer = (pl.col("booked_at").is_not_null() & (before.is_null() | (pl.col("booked_at") > before))).alias("newer")
        places = {f"{name}_minor": "worth"}
        if name in BALANCED:
            places |= {f"balance_{when}_{name}_minor": when for when in SIDES}
        moved = joined.with_columns(newer, unsure=pl.col("unsure") | (pl.col("booked_at") == before).fill_null(False)).with_columns(
            pl.when("newer").then(pl.col(value)).otherwise(pl.col(column)).alias(column) for column, value in places.items()
        ).drop("newer", "booked_at", "worth", *SIDES)  # fmt: skip
    return moved.select("customer_id", "unsure", *LAST_COLUMNS)


LAST_VALUES = FeatureView("last values", _declare, _compute)
