"""What a training run learns from: the bank's labels and features up to one cut.

Features are looked up once for all models that share rows; `later` are the rows the cut has not
seen, ripe at the home's present, on which the finished models are measured and nothing is chosen.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from features.home import Home
from features.store import FeatureStore
from features.tables import MARKETING_CHANNELS
from training.dataset import Dataset, Observed, labelled, observe, sample_rows
from training.errors import DatasetError
from training.history import read_history
from training.labels import (
    CHURN_DAYS,
    HARMED,
    LAPSE_DAYS,
    churn_labels,
    contact_labels,
    lapse_labels,
    months,
    who_may_be_learned_from,
)
from training.tune import Progress

CONTACTS_MOST, REACHED_MOST, MONTHS_MOST = 40_000, 60_000, 100_000  # rows learned from
# Harm is rare and comes of being bothered: what we did to the customer says it, and money he happens
# to move must not, for a few dozen positives cannot tell its effect from chance.
HARM_FEATURES = frozenset({
    *(f"contacts_{channel}_count_{days}d" for channel in MARKETING_CHANNELS for days in (30, 90)),
    "contacts_count_30d", "contacts_count_365d", "days_since_last_contact", "ignored_in_a_row", "opened_count_90d",
    "accepted_count_365d", "refused_count_365d", "days_since_last_complaint", "age_years", "tenure_days"})  # fmt: skip
_RUN_IN_DAYS = 60  # history a first row of features needs behind it
_KEY = "row_key"
LAPSE_WORDS = "no accounts on record: churn means no transaction for 42 days"


class Study:
    """The data sets of one home as of one cut, each made when it is first asked for."""

    def __init__(self, home: Home, store: FeatureStore, cut: datetime, progress: Progress) -> None:
        self.home, self.store, self.cut = home, store, cut
        self._progress = progress
        self._seen: dict[str, Observed | None] = {}
        self._customers = read_history(home, "customers")
        kinds = read_history(home, "outcomes", ["kind"])["kind"].unique().to_list()
        self.reach_unknown = not set(kinds) - {"accepted"}  # a source of redemptions only
        self.harm_unknown = not set(kinds) & set(HARMED) and not self._harm_on_file()
        self._has_accounts = not read_history(home, "holders", ["customer_id"]).is_empty()

    @property
    def churn_words(self) -> tuple[str, ...]:
        """What churn means here, where it is not closing all accounts."""
        return () if self._has_accounts else (LAPSE_WORDS,)

    def interest(self, later: bool = False) -> Dataset:
        """Did the customer accept the offer, once reached? Items are offers."""
        reached = pl.col("for_interest") & pl.col("reached") & pl.col("offer_id").is_not_null()
        return self._contacts("accepted", "answer_end", "offer_id", reached, later)

    def reach(self, later: bool = False) -> Dataset:
        """Was the customer reached? Items are channels."""
        return self._contacts("reached", "answer_end", "channel", pl.col("for_channel"), later)

    def harm(self, later: bool = False) -> Dataset:
        """Did the contact end in a complaint or an opt-out? Items are channels."""
        seen = self._contacts("harmed", "harm_end", "channel", pl.col("for_channel"), later)
        return seen.knowing(HARM_FEATURES)

    def churn(self, later: bool = False) -> Dataset:
        """Does the customer leave? One row per customer and month."""
        name = "later months" if later else "months"
        if name not in self._seen:
            self._seen[name] = self._looked_up(self._month_rows(later))
        return _dataset(self._seen[name], "churned", "label_end", later)

    def churn_rate(self) -> tuple[float, int]:
        """The share who leave within the window, over all ripe months, and the window's days."""
        rate = self._month_rows(later=False)["churned"].mean()
        if not isinstance(rate, float):
            raise DatasetError("no month has a ripe `churned`; import more history or take a later --as-of")
        return rate, CHURN_DAYS if self._has_accounts else LAPSE_DAYS

    def _contacts(self, label: str, end: str, item: str, keep: pl.Expr, later: bool) -> Dataset:
        name = "later contacts" if later else "contacts"
        if name not in self._seen:
            self._seen[name] = self._looked_up(self._contact_rows(later))
        return _dataset(self._seen[name], label, end, later, item, keep)

    def _contact_rows(self, later: bool) -> pl.DataFrame:
        until = self.home.now() if later else self.cut
        contacts, outcomes = (read_history(self.home, name) for name in ("contacts", "outcomes"))
        cases, consents = (read_history(self.home, name) for name in ("cases", "consents"))
        rows = contact_labels(contacts, outcomes, cases, consents, until)
        if self.reach_unknown:
            ripe = pl.col("reached").is_not_null()
            rows = rows.with_columns(pl.when(ripe).then(True).alias("reached"))
        rows = self._allowed(rows.rename({"contact_id": _KEY}), later)
        channel = sample_rows(rows, _KEY, CONTACTS_MOST)[_KEY]
        reached = rows.filter(pl.col("reached").fill_null(False))
        interest = sample_rows(reached, _KEY, REACHED_MOST)[_KEY]
        marked = rows.with_columns(
            pl.col(_KEY).is_in(channel.implode()).alias("for_channel"),
            pl.col(_KEY).is_in(interest.implode()).alias("for_interest"),
        )
        return marked.filter(pl.col("for_channel") | pl.col("for_interest"))

    def _month_rows(self, later: bool) -> pl.DataFrame:
        until = self.home.now() if later else self.cut
        booked = read_history(self.home, "transactions", ["customer_id", "booked_at", "recorded_at"])
        booked = booked.filter(pl.col("recorded_at") <= until)
        first = booked["booked_at"].min()
        if not isinstance(first, datetime):
            raise DatasetError("no transaction before the cut; import history or take a later --as-of")
        zone = self.home.settings.tz
        run_in = (first.replace(tzinfo=UTC) + timedelta(days=_RUN_IN_DAYS)).astimezone(zone)
        at = months(run_in, until.astimezone(zone))
        if self._has_accounts:
            accounts, holders = (read_history(self.home, name) for name in ("accounts", "holders"))
            rows = churn_labels(accounts, holders, at, until)
        else:
            rows = lapse_labels(booked.drop("recorded_at"), at, until)
        rows = rows.filter(pl.col("churned").is_not_null())
        key = pl.concat_str("customer_id", pl.col("as_of").dt.to_string("%Y%m%d")).alias(_KEY)
        return sample_rows(self._allowed(rows, later).with_columns(key), _KEY, MONTHS_MOST)

    def _allowed(self, rows: pl.DataFrame, later: bool) -> pl.DataFrame:
        if later:
            rows = rows.filter(pl.col("as_of") >= self.cut)
        units = self._customers.select("customer_id", pl.coalesce("household_id", "customer_id").alias("unit_id"))
        allowed = who_may_be_learned_from(rows, self._customers)
        return allowed.join(units, on="customer_id", maintain_order="left")

    def _looked_up(self, rows: pl.DataFrame) -> Observed | None:
        if rows.is_empty():
            return None
        self._progress("looking up features", 0, len(rows))
        return observe(self.store, rows)

    def _harm_on_file(self) -> bool:
        complaints = read_history(self.home, "cases", ["kind"])["kind"]
        said = read_history(self.home, "consents", ["state"])["state"]
        return bool((complaints == "complaint").any() or (said == "withdrawn").any())


def _dataset(seen: Observed | None, label: str, end: str, later: bool, item: str | None = None,
             keep: pl.Expr | None = None) -> Dataset:  # fmt: skip
    if seen is None:
        raise DatasetError(f"no row to learn `{label}` from; import contacts or take a later --as-of")
    return labelled(seen, label, end=end, item=item, keep=keep, later=later)
