"""The bank's own experiment: contacts about an offer, beside customers drawn never to be contacted.

    treated    an outbound marketing contact about the offer was sent; as_of is when it was decided
    untreated  a customer held out by lot, at the instant of such a contact, with the same offer in mind
    outcome    he opens the offer's product within 30 days, from the day of as_of on

Both had an account, but no such one, the day before. The untreated were drawn by lot, the treated were chosen:
who was, can be told from what was known of him, and training/uplift.py weighs for that. What the log says
of a customer's contacts is no column here, for it tells the two apart by itself.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from training.dataset import Dataset, Observed, observe, sample_rows, snapshot_id
from training.encode import Feature
from training.errors import DatasetError
from training.history import catalogue_offers, read_history
from training.labels import HOLDOUT_FLAGS, never_contacted
from training.splits import Axis, Fold, folds, test_part
from training.study import Study, not_marking

OUTCOME_DAYS = 30
CONTACTS_MOST = 20_000  # contacts learned from, and as many held-out rows beside them
_DAY, _MICROS_A_DAY = "day", 86_400_000_000
_LEAST_FOLDS = 2  # the effect is learned from an earlier fold's pseudo-outcomes


def experiment_rows(contacts: pl.DataFrame, notes: pl.DataFrame, accounts: pl.DataFrame, holders: pl.DataFrame,
                    products: Mapping[str, str], cut: datetime, seed: int) -> pl.DataFrame:  # fmt: skip
    """One row per contact and one per held-out customer beside it, ripe at the cut.

    Args:
        products: Offer -> the product whose account is opened by taking it; other offers are left out.
        seed: Of the draw of held-out customers, one to a contact.

    Returns:
        customer_id, offer_id, as_of, label_end, treated (bool), taken (bool). Sorted by as_of, offer_id,
        customer_id, treated. No row where nobody was drawn never to be contacted.
    """
    sent = contacts.filter(
        pl.col("direction") == "outbound", pl.col("purpose") == "marketing", pl.col("sent_at").is_not_null(),
        pl.col("offer_id").is_in(list(products)), pl.col("decided_at") + pl.duration(days=OUTCOME_DAYS + 1) <= cut,
    ).sort("decided_at", "contact_id")  # fmt: skip
    sent = sample_rows(sent, "contact_id", CONTACTS_MOST)
    treated = sent.select("customer_id", "offer_id", pl.col("decided_at").alias("as_of"), treated=pl.lit(value=True))
    pool = notes.filter(pl.col("flag").is_in(HOLDOUT_FLAGS))["customer_id"].unique().sort()
    if treated.is_empty() or pool.is_empty():
        return _with_outcomes(treated.clear(), accounts, holders, products)
    drawn = np.random.default_rng(seed).integers(0, len(pool), len(treated))
    beside = treated.with_columns(pool[drawn].alias("customer_id"), treated=pl.lit(value=False))
    beside = never_contacted(beside.with_columns(_end()), notes, contacts).drop("label_end")
    return _with_outcomes(pl.concat([treated, beside]).unique(maintain_order=True), accounts, holders, products)


def experiment(study: Study, seed: int) -> tuple[Dataset, np.ndarray, np.ndarray] | None:
    """What is learned from, whether each row was contacted and when its outcome was known; None: no holdout.

    Items are offers, also the last column of the matrix; the label is the outcome. treated: 0 or 1, (n,).
    label_end: microseconds, (n,).
    """
    contacts, notes, accounts, holders = (
        read_history(study.home, name) for name in ("contacts", "notes", "accounts", "holders")
    )
    rows = experiment_rows(contacts, notes, accounts, holders, catalogue_offers(study.home, "product"), study.cut, seed)
    rows = study.allowed(rows)
    if rows.is_empty() or rows["treated"].all():
        return None
    seen = observe(study.store, rows)
    return _dataset(seen), seen.rows["treated"].to_numpy().astype(np.float64), _micros(seen.rows["label_end"])


def in_time(
    data: Dataset, strata: np.ndarray, label_end: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, list[Fold]]:
    """(places to fit on, places to measure on, folds of the former), each later than what it is told by.

    A row whose outcome was not known when the later rows begin is left out of the earlier ones.

    Raises:
        DatasetError: All rows are of one instant, or of so few days that nothing was known between them.
    """
    axis = Axis(strata=strata.astype(np.int64), time=data.at.astype(np.float64))
    fit, test = test_part(axis, seed)
    fit = fit[label_end[fit] <= data.at[test].min()]
    at, end = data.at[fit], label_end[fit]
    blocks = folds(axis.rows(fit), seed) if len(fit) else []
    parted = [Fold(each.fit[end[each.fit] <= at[each.hold].min()], each.hold) for each in blocks]
    usable = [each for each in parted if len(each.fit)]
    if len(usable) < _LEAST_FOLDS:
        days = round(float(np.ptp(data.at)) / _MICROS_A_DAY)
        raise DatasetError(
            f"contacts of {days} days are too few to learn from earlier ones and measure on later ones; wait, or import more"
        )
    return fit, test, usable


def _dataset(seen: Observed) -> Dataset:
    rows = seen.rows
    items, owners = (rows[name].to_numpy().astype(np.str_) for name in ("offer_id", "unit_id"))
    data = Dataset(
        features=seen.features, matrix=seen.matrix, label=rows["taken"].cast(pl.Float64).to_numpy(), owners=owners,
        groups=np.full(len(rows), "", np.str_), items=items, slices=np.zeros(len(rows), np.int8),
        snapshot=snapshot_id(rows, seen.features), at=_micros(rows["as_of"]),
    )  # fmt: skip
    return data.knowing(not_marking(data.names)).with_item(offers(data))


def offers(data: Dataset) -> Feature:
    """The offers of a data set as a column."""
    return Feature(name="offer", kind="enum", domain=tuple(sorted(set(data.items.tolist()))))


def _micros(column: pl.Series) -> np.ndarray:
    return column.dt.timestamp("us").to_numpy()


def _end() -> pl.Expr:
    return (pl.col("as_of") + pl.duration(days=OUTCOME_DAYS + 1)).alias("label_end")


def _with_outcomes(rows: pl.DataFrame, accounts: pl.DataFrame, holders: pl.DataFrame,
                   products: Mapping[str, str]) -> pl.DataFrame:  # fmt: skip
    """The rows of those with an open account who did not hold the product the day before, with what they did."""
    named = pl.DataFrame({"offer_id": list(products), "product": list(products.values())},
                         schema={"offer_id": pl.String, "product": pl.String})  # fmt: skip
    held = holders.filter(pl.col("role") != "authorised").join(accounts, on="account_id").select(
        "customer_id", pl.col("product").alias("held"), "opened_on", "closed_on")  # fmt: skip
    rows = rows.with_row_index("row").with_columns(_end(), pl.col("as_of").dt.date().alias(_DAY))
    theirs = rows.join(named, on="offer_id").join(held, on="customer_id")
    day, opened, closed, mine = (
        pl.col(_DAY),
        pl.col("opened_on"),
        pl.col("closed_on"),
        pl.col("product") == pl.col("held"),
    )
    held_then = (opened < day) & (closed.is_null() | (closed >= day))
    by_row = theirs.group_by("row").agg(
        held_then.any().alias("here"), (mine & held_then).any().alias("has"),
        (mine & (opened >= day) & (opened <= day + timedelta(days=OUTCOME_DAYS))).any().alias("taken"),
    )  # fmt: skip
    known = rows.join(by_row, on="row").filter(pl.col("here") & ~pl.col("has"))
    return known.select(
        "customer_id", "offer_id", "as_of", "label_end", "treated", "taken",
    ).sort("as_of", "offer_id", "customer_id", "treated")  # fmt: skip
