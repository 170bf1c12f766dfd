"""What came of it: labels from the bank's canonical tables.

A label is known once its window is over at the cut. Before that it is absent (null) - never 0,
and never 1 either: keeping only the early positives would flatter the rate.

    contact   reached    opened, clicked, accepted, refused or "later" while an answer counts
              accepted   accepted while an answer counts (to answer_by, else for 30 days)
              harmed     complained, opted out or "do not call" within 30 days, or a complaint
                         filed or marketing consent withdrawn within 7 days
    customer  churned    had an account open at the cut and none 60 days later, or neither money nor
                         doings on them any more (training/leaving.py)
              lapsed     (source without accounts) bought lately, then nothing for 42 days
    customer, taken      opened the offer's product within 30 days of the day after the cut, without
    offer                having held it
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

ANSWER_DAYS, HARM_DAYS, HARM_CASE_DAYS, CHURN_DAYS, LAPSE_DAYS = 30, 30, 7, 60, 42
TAKEUP_GAP_DAYS, TAKEUP_DAYS = 1, 30  # a day's gap: what he did on the day of the cut may be half booked
ACTIVE_DAYS = 84  # who has not been seen for two lapse windows has lapsed already
ADULT_YEARS = 18
AGE_BANDS = ((30, "18-29"), (45, "30-44"), (60, "45-59"), (200, "60+"))  # up to this age
HOLDOUT_FLAGS = ("legacy_control",)  # notes that say: drawn at random, never marketed to
REACHED = ("opened", "clicked", "accepted", "refused", "later")
HARMED = ("complained", "opted_out", "do_not_call")
_KEY = "contact_id"


def contact_labels(contacts: pl.DataFrame, outcomes: pl.DataFrame, cases: pl.DataFrame,
                   consents: pl.DataFrame, cut: datetime) -> pl.DataFrame:  # fmt: skip
    """One row per outbound marketing contact that was sent, known at the cut.

    Returns:
        contact_id, customer_id, campaign_id, offer_id, channel, as_of (when it was chosen),
        answer_end and harm_end (when the labels ripen), reached, accepted, harmed (bool; null:
        not ripe at the cut). Sorted by as_of, contact_id.
    """
    sent = contacts.filter(
        (pl.col("direction") == "outbound")
        & (pl.col("purpose") == "marketing")
        & pl.col("sent_at").is_not_null()
        & (pl.col("decided_at") < cut)
    ).select(
        _KEY, "customer_id", "campaign_id", "offer_id", "channel",
        pl.col("decided_at").alias("as_of"),
        pl.col("answer_by").fill_null(_later("decided_at", ANSWER_DAYS)).alias("answer_end"),
        _later("decided_at", HARM_DAYS).alias("harm_end"),
    )  # fmt: skip
    answers = outcomes.join(sent, on=_KEY).filter(pl.col("at") >= pl.col("as_of"))
    answered = answers.filter(pl.col("at") <= pl.col("answer_end"))
    harmed = pl.concat([
        answers.filter(pl.col("kind").is_in(HARMED), pl.col("at") <= pl.col("harm_end"))[_KEY],
        _complaints(sent, cases), _withdrawals(sent, consents),
    ])  # fmt: skip
    labelled = sent.with_columns(
        _ripe(
            "answer_end",
            cut,
            _among(answered.filter(pl.col("kind").is_in(REACHED))[_KEY], "reached"),
        ),
        _ripe(
            "answer_end",
            cut,
            _among(answered.filter(pl.col("kind") == "accepted")[_KEY], "accepted"),
        ),
        _ripe("harm_end", cut, _among(harmed, "harmed")),
    )
    return labelled.sort("as_of", _KEY)


def churn_labels(accounts: pl.DataFrame, holders: pl.DataFrame, at: Sequence[datetime],
                 cut: datetime) -> pl.DataFrame:  # fmt: skip
    """One row per customer with an open account and month, true where all accounts close in 60 days.

    Returns:
        customer_id, as_of, label_end, churned (bool; null: not ripe). Sorted by as_of, customer_id.
    """
    held = holders.filter(pl.col("role") != "authorised").join(accounts, on="account_id")
    rows = [_churn_at(held, moment) for moment in at]
    return _customer_rows(rows, CHURN_DAYS, "churned", cut)


def lapse_labels(transactions: pl.DataFrame, at: Sequence[datetime], cut: datetime) -> pl.DataFrame:
    """One row per lately active customer and month, true where no transaction follows in 42 days.

    Returns:
        customer_id, as_of, label_end, churned (bool; null: not ripe). Sorted by as_of, customer_id.
    """
    end = transactions["booked_at"].max()
    ripe_until = min(cut, end) if isinstance(end, datetime) else cut  # after the last row all lapse
    rows = [_lapse_at(transactions, moment) for moment in at]
    return _customer_rows(rows, LAPSE_DAYS, "churned", ripe_until)


def takeup_labels(accounts: pl.DataFrame, holders: pl.DataFrame, products: Mapping[str, str],
                  at: Sequence[datetime], cut: datetime) -> pl.DataFrame:  # fmt: skip
    """One row per customer with an open account, month and offer whose product he does not hold then.

    Args:
        products: Offer -> the product whose account is opened by taking it.

    Returns:
        customer_id, as_of, label_end, offer_id, taken (bool; null: not ripe). Sorted by as_of,
        customer_id, offer_id.
    """
    held = holders.filter(pl.col("role") != "authorised").join(accounts, on="account_id")
    rows = [_takeup_at(held, offer, product, moment) for moment in at for offer, product in products.items()]
    if not rows:
        return pl.DataFrame(schema={"customer_id": pl.String, "as_of": pl.Datetime("us", "UTC"),
                                    "label_end": pl.Datetime("us", "UTC"), "offer_id": pl.String, "taken": pl.Boolean})  # fmt: skip
    table = pl.concat(rows).with_columns(_later("as_of", TAKEUP_GAP_DAYS + TAKEUP_DAYS).alias("label_end"))
    return table.with_columns(_ripe("label_end", cut, pl.col("taken"))).select(
        "customer_id", "as_of", "label_end", "offer_id", "taken").sort("as_of", "customer_id", "offer_id")  # fmt: skip


def never_contacted(rows: pl.DataFrame, notes: pl.DataFrame, contacts: pl.DataFrame) -> pl.DataFrame:
    """The rows of customers drawn at random never to be contacted, over the row's whole window.

    Who was marketed to all the same within it is no control and left out.
    """
    drawn = notes.filter(pl.col("flag").is_in(HOLDOUT_FLAGS)).select(
        "customer_id", pl.col("at").alias("since"), "until"
    )
    inside = rows.with_row_index("row").join(drawn, on="customer_id").filter(
        pl.col("since") <= pl.col("as_of"),
        pl.col("until").is_null() | (pl.col("until") >= pl.col("label_end").dt.date()))  # fmt: skip
    marketed = contacts.filter(pl.col("purpose") == "marketing", pl.col("direction") == "outbound",
                               pl.col("sent_at").is_not_null()).select("customer_id", "sent_at")  # fmt: skip
    spoiled = inside.join(marketed, on="customer_id").filter(
        pl.col("sent_at") >= pl.col("as_of"), pl.col("sent_at") < pl.col("label_end"))  # fmt: skip
    kept = inside["row"].unique().to_frame().join(spoiled.select("row").unique(), on="row", how="anti")
    return rows.with_row_index("row").join(kept, on="row", how="semi").drop("row")


def age_band(birth_date: pl.Expr, as_of: pl.Expr) -> pl.Expr:
    """`18-29` ... `60+` at that instant; "" where no birth date is known."""
    years = (as_of.dt.date() - birth_date).dt.total_days() / 365.25
    banded = pl.when(birth_date.is_null()).then(pl.lit(""))
    for below, name in AGE_BANDS:
        banded = banded.when(years < below).then(pl.lit(name))
    return banded.otherwise(pl.lit(""))


def who_may_be_learned_from(rows: pl.DataFrame, customers: pl.DataFrame) -> pl.DataFrame:
    """The rows without minors (at as_of), vulnerable, deceased and those who object to profiling.

    A flag nobody set (null) keeps no one out; sources that know no flags declare that.
    """
    flagged = pl.any_horizontal(pl.col("vulnerable", "deceased", "no_profiling").fill_null(False))
    allowed = customers.filter(~flagged).select("customer_id", "birth_date")
    of_age = pl.col("birth_date").dt.offset_by(f"{ADULT_YEARS}y") <= pl.col("as_of").dt.date()
    return rows.join(allowed, on="customer_id", maintain_order="left").filter(
        of_age.fill_null(True)).drop("birth_date")  # fmt: skip


def months(first: datetime, last: datetime) -> list[datetime]:
    """First instants (UTC) of the months of first's zone, after `first` and until `last`."""
    found: list[datetime] = []
    year, month = first.year, first.month
    while True:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        moment = first.replace(year=year, month=month, day=1, hour=0, minute=0, second=0, microsecond=0)
        if moment > last:
            return found
        found.append(moment.astimezone(UTC))


def _later(column: str, days: int) -> pl.Expr:
    return pl.col(column) + pl.duration(days=days)


def _among(ids: pl.Series, name: str) -> pl.Expr:
    return pl.col(_KEY).is_in(ids.unique().implode()).alias(name)


def _ripe(end: str, cut: datetime, label: pl.Expr) -> pl.Expr:
    return pl.when(pl.col(end) <= cut).then(label).otherwise(None).alias(label.meta.output_name())


def _complaints(sent: pl.DataFrame, cases: pl.DataFrame) -> pl.Series:
    filed = cases.filter(pl.col("kind") == "complaint").select("customer_id", "opened_at")
    return _soon_after(sent, filed, "opened_at")


def _withdrawals(sent: pl.DataFrame, consents: pl.DataFrame) -> pl.Series:
    gone = (pl.col("state") == "withdrawn") & (pl.col("purpose") == "marketing")
    said = consents.filter(gone).select("customer_id", "at", pl.col("channel").alias("said_of"))
    return _soon_after(
        sent,
        said,
        "at",
        pl.col("said_of").is_in(["all"]) | (pl.col("said_of") == pl.col("channel")),
    )


def _soon_after(sent: pl.DataFrame, events: pl.DataFrame, at: str, also: pl.Expr | None = None) -> pl.Series:
    pairs = sent.join(events, on="customer_id").filter(
        pl.col(at) >= pl.col("as_of"), pl.col(at) <= _later("as_of", HARM_CASE_DAYS)
    )
    return (pairs if also is None else pairs.filter(also))[_KEY]


def _open_on(day: pl.Expr) -> pl.Expr:
    return (pl.col("opened_on") <= day) & (pl.col("closed_on").is_null() | (pl.col("closed_on") > day))


def _churn_at(held: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    today, then = pl.lit(moment.date()), pl.lit((moment + timedelta(days=CHURN_DAYS)).date())
    by_customer = held.group_by("customer_id").agg(
        _open_on(today).any().alias("before"), (~_open_on(then).any()).alias("churned")
    )
    return _moment(by_customer.filter("before").select("customer_id", "churned"), moment)


def _takeup_at(held: pl.DataFrame, offer: str, product: str, moment: datetime) -> pl.DataFrame:
    today = pl.lit(moment.date())
    first, last = (
        (moment + timedelta(days=TAKEUP_GAP_DAYS)).date(),
        (moment + timedelta(days=TAKEUP_GAP_DAYS + TAKEUP_DAYS)).date(),
    )
    mine = pl.col("product") == product
    opened = (pl.col("opened_on") >= first) & (pl.col("opened_on") < last)
    by_customer = held.group_by("customer_id").agg(
        _open_on(today).any().alias("here"),
        (mine & _open_on(today)).any().alias("has"),
        (mine & opened).any().alias("taken"),
    )
    kept = by_customer.filter(pl.col("here") & ~pl.col("has")).select(
        "customer_id", "taken", pl.lit(offer).alias("offer_id")
    )
    return _moment(kept, moment)


def _lapse_at(transactions: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    booked = pl.col("booked_at")
    recent = transactions.filter(booked < moment, booked >= moment - timedelta(days=ACTIVE_DAYS))
    after = transactions.filter(booked >= moment, booked < moment + timedelta(days=LAPSE_DAYS))
    active = recent.select("customer_id").unique()
    came_back = pl.col("customer_id").is_in(after["customer_id"].unique().implode())
    return _moment(active.with_columns((~came_back).alias("churned")), moment)


def _moment(rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    return rows.with_columns(pl.lit(moment).cast(pl.Datetime("us", "UTC")).alias("as_of"))


def _customer_rows(rows: list[pl.DataFrame], days: int, label: str, cut: datetime) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(
            schema={
                "customer_id": pl.String,
                "as_of": pl.Datetime("us", "UTC"),
                "label_end": pl.Datetime("us", "UTC"),
                label: pl.Boolean,
            }
        )
    table = pl.concat(rows).with_columns(_later("as_of", days).alias("label_end"))
    ripe = table.with_columns(_ripe("label_end", cut, pl.col(label)))
    return ripe.select("customer_id", "as_of", "label_end", label).sort("as_of", "customer_id")
