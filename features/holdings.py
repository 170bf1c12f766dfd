"""What the customer holds and what lies on it: products, balances, maturities.

Opening and closing are days, so they count from the midnight that follows. A balance is the last
one stated by a visible booking, plus later bookings that stated none; authorised users do not own.
"""

from collections.abc import Callable, Mapping, Sequence

import narwhals as nw
import numpy as np
import polars as pl

from features.segments import Floats
from features.source import Source
from features.view import Feature, FeatureView, Pairs
from features.windows import Log

OWNERS = ("owner", "joint")
NO_ACCOUNTS = "the bank gave no accounts"


def _declare(source: Source) -> tuple[Feature, ...]:
    told = [Feature(f"holds_{p}", "bool", "", NO_ACCOUNTS, "accounts", f"holds {p}", f"持有 {p}")
            for p in source.products]  # fmt: skip
    told.append(Feature("n_accounts", "number", "accounts", NO_ACCOUNTS, "accounts", "open accounts", "账户数"))
    told.append(Feature("maturity_ahead_days", "number", "days", "nothing matures", "accounts",
                        "days to the next maturity", "距下次到期天数"))  # fmt: skip
    for currency in source.settings.currencies:
        c = currency.lower()
        told.append(Feature(f"balance_{c}_minor", "number", f"{currency} minor", NO_ACCOUNTS,
                            "transactions", f"{currency} balance", f"{currency} 余额"))  # fmt: skip
    told.append(
        Feature(
            "balance_total_minor",
            "number",
            f"{source.settings.currency} minor",
            f"{NO_ACCOUNTS}, or a rate is missing",
            "transactions",
            "balance of all accounts",
            "账户总余额",
        )
    )
    return tuple(told)


def _compute(pairs: Pairs, source: Source) -> Mapping[str, pl.Series]:
    names = {f.name: pl.Boolean if f.kind == "bool" else pl.Float64 for f in _declare(source)}
    if not (source.has("accounts") and source.has("holders")):
        return {n: pl.repeat(None, len(pairs), dtype=t, eager=True) for n, t in names.items()}
    held = _held(pairs, source)
    found = _holdings(pairs, source, held)
    balances, days = _balances(pairs, source, held), pairs.frame["day"]
    arrays = {name: balance.to_numpy() for name, balance in balances.items()}
    total = total_in_base(arrays, source.settings.currencies,
                          lambda amounts, currency: source.rates.to_base(pl.Series(amounts), currency, days).to_numpy())  # fmt: skip
    return found | balances | {"balance_total_minor": pl.Series(total).fill_nan(None)}


def _held(pairs: Pairs, source: Source) -> pl.DataFrame:
    """One row a pair and account not closed at it: pair, customer, account, as_of, day, facts."""
    holders = source.rows("holders", ("account_id", "role"), pairs.codes)
    holders = holders.filter(pl.col("role").is_in(OWNERS)).drop("role")
    facts = source.whole("accounts", ("account_id", "product", "currency", "opened_on", "closed_on",
                                      "matures_on"))  # fmt: skip
    accounts = holders.join(facts, on="account_id")
    ids = accounts.select(pl.col("account_id").unique().sort()).with_row_index("account")
    accounts = accounts.join(ids.with_columns(pl.col("account").cast(pl.Int32)), on="account_id")
    asked = pairs.frame.with_row_index("pair")
    held = asked.join(accounts, on="customer")
    return held.filter(pl.col("closed_on").is_null() | (pl.col("closed_on") >= pl.col("day")))


def _holdings(pairs: Pairs, source: Source, held: pl.DataFrame) -> dict[str, pl.Series]:
    is_open = held.filter(pl.col("opened_on") < pl.col("day"))
    ahead = (pl.col("matures_on") - pl.col("day")).dt.total_days()
    grouped = is_open.group_by("pair").agg(
        *((pl.col("product") == p).any().alias(f"holds_{p}") for p in source.products),
        n_accounts=pl.len().cast(pl.Float64),
        maturity_ahead_days=ahead.filter(ahead >= 0).min().cast(pl.Float64),
    )
    rows = _by_pair(pairs, grouped)
    found = {f"holds_{p}": rows[f"holds_{p}"].fill_null(False) for p in source.products}
    return found | {
        "n_accounts": rows["n_accounts"].fill_null(0.0),
        "maturity_ahead_days": rows["maturity_ahead_days"],
    }


def _balances(pairs: Pairs, source: Source, held: pl.DataFrame) -> dict[str, pl.Series]:
    asked = held.select("pair", "account", "account_id", "currency", "as_of").sort("account", "as_of")
    book = source.book
    known = asked.join(book.known(asked["account_id"]), on="account_id") if book else asked.clear()
    rest = asked.join(known, on="account_id", how="anti", maintain_order="left") if len(known) else asked
    states = _states(rest, source)
    if book:
        book.keep(states)
        book.keep(known)
    both = [frame.select("pair", "currency", "balance") for frame in (states, known) if len(frame)]
    sums = (
        pl.concat(both or [states.select("pair", "currency", "balance")])
        .group_by("pair", "currency")
        .agg(pl.col("balance").sum())
    )
    found: dict[str, pl.Series] = {}
    for currency in source.settings.currencies:
        rows = _by_pair(pairs, sums.filter(pl.col("currency") == currency))
        found[f"balance_{currency.lower()}_minor"] = rows["balance"].fill_null(0).cast(pl.Float64)
    return found


def _states(asked: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The accounts asked for with the state of each at its instant, from all its bookings."""
    log = Log(_bookings(source, asked), by="account", order=("transaction_id",))
    stated = ~nw.col("balance_after_minor").is_null()
    last = log.last(asked, stated, ("balance_after_minor", "booked", "recorded", "transaction_id"))
    later = log.since(asked, last["booked"] + 1, ("unstated", "is_unstated"))
    balance = last["balance_after_minor"].fill_null(0) + pl.Series(later["unstated"])
    return asked.with_columns(
        balance=balance, booked=last["booked"], recorded=last["recorded"], transaction_id=last["transaction_id"],
        loose=pl.Series(later["is_unstated"]) > 0,
    )  # fmt: skip


def _bookings(source: Source, asked: pl.DataFrame) -> pl.DataFrame:
    ids = asked.select("account_id", "account").unique()
    columns = ("account_id", "transaction_id", "amount_minor", "balance_after_minor")
    amount, stated = pl.col("amount_minor"), pl.col("balance_after_minor").is_not_null()
    return (
        source.scan("transactions")
        .select(*columns, pl.col("booked_at").dt.epoch("us").alias("booked"),
                pl.col("recorded_at").dt.epoch("us").alias("recorded"))
        .join(ids.lazy(), on="account_id")
        .drop("account_id")
        .with_columns(unstated=pl.when(stated).then(0).otherwise(amount), is_unstated=(~stated).cast(pl.Int64))
        .collect()
    )  # fmt: skip


def total_in_base(balances: Mapping[str, Floats], currencies: Sequence[str], worth: Callable[[Floats, str], Floats]) -> Floats:  # fmt: skip
    """Balances of all currencies in base minor units, (n,), NaN for null.

    Null where a balance is null, or where a balance other than 0 has no rate. worth: what amounts in a currency are worth.
    """
    total = 0.0
    for currency in currencies:
        balance = balances[f"balance_{currency.lower()}_minor"]
        total = total + np.where(balance == 0, 0.0, worth(balance, currency))
    return np.asarray(total)


def _by_pair(pairs: Pairs, grouped: pl.DataFrame) -> pl.DataFrame:
    frame = pl.DataFrame({"pair": pl.int_range(len(pairs), dtype=pl.UInt32, eager=True)})
    return frame.join(grouped, on="pair", how="left", maintain_order="left")


HOLDINGS = FeatureView("holdings", _declare, _compute)
