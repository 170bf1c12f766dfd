"""What a training run learns from: the bank's labels and features up to one cut.

Features are looked up once for all models that share rows; `later` are the rows the cut has not
seen, ripe at the home's present, on which the finished models are measured and nothing is chosen.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from features.home import Home
from features.store import FeatureStore
from features.tables import MARKETING_CHANNELS
from training.dataset import Dataset, Observed, labelled, observe, sample_rows, weighted_sample
from training.errors import DatasetError
from training.history import catalogue_offers, read_history
from training.labels import (
    CHURN_DAYS,
    HARMED,
    LAPSE_DAYS,
    age_band,
    churn_labels,
    contact_labels,
    lapse_labels,
    months,
    never_contacted,
    takeup_labels,
    who_may_be_learned_from,
)
from training.leaving import COLUMNS as LEAVING_COLUMNS
from training.leaving import gone_quiet
from training.monotone import SIGNS

if TYPE_CHECKING:
    from training.tune import Progress

CONTACTS_MOST, REACHED_MOST, MONTHS_MOST, TAKEUPS_MOST = 40_000, 60_000, 100_000, 60_000  # rows learned from
_TAKEUP_ROWS_MOST = 4_000_000  # (customer, month, offer) labelled before they are drawn from
# Harm is rare and comes of being bothered: what we did to the customer says it, and money he happens
# to move must not, for a few dozen positives cannot tell its effect from chance.
HARM_FEATURES = frozenset({
    *(f"contacts_{channel}_count_{days}d" for channel in MARKETING_CHANNELS for days in (30, 90)),
    "contacts_count_30d", "contacts_count_365d", "days_since_last_contact", "ignored_in_a_row", "opened_count_90d",
    "accepted_count_365d", "refused_count_365d", "days_since_last_complaint", "age_years", "tenure_days"})  # fmt: skip
_RUN_IN_DAYS = 60  # history a first row of features needs behind it
_KEY = "row_key"
# What tells a held-out customer from others: it is the same for all he is learned from.
_MARKS = ("contacts_", "days_since_last_contact", "ignored_in_a_row", "opened_count", "accepted_count",
          "refused_count", "notes_count", "days_since_last_note")  # fmt: skip
LAPSE_WORDS = "no accounts on record: churn means no transaction for 42 days"


class Study:
    """The data sets of one home as of one cut, each made when it is first asked for."""

    def __init__(self, home: Home, store: FeatureStore, cut: datetime, progress: "Progress") -> None:
        self.home, self.store, self.cut = home, store, cut
        self._progress = progress
        self._seen: dict[str, Observed | None] = {}
        self._month_labels: dict[bool, pl.DataFrame] = {}
        self.customers = read_history(home, "customers")
        kinds = read_history(home, "outcomes", ["kind"])["kind"].unique().to_list()
        self.reach_unknown = not set(kinds) - {"accepted"}  # a source of redemptions only
        self.harm_unknown = not set(kinds) & set(HARMED) and not self._harm_on_file()
        self._has_accounts = not read_history(home, "holders", ["customer_id"]).is_empty()
        self.no_contacts = read_history(home, "contacts", ["contact_id"]).is_empty()
        self._products = catalogue_offers(home, "product")

    @property
    def churn_words(self) -> tuple[str, ...]:
        """What churn means here, where it is not closing all accounts."""
        return () if self._has_accounts else (LAPSE_WORDS,)

    def interest(self, later: bool = False) -> Dataset:
        """Did the customer accept the offer, once reached? Items are offers."""
        if self.no_contacts:
            return self._takeups("taken up", later, pl.lit(value=True)).signed(SIGNS["interest"])
        reached = pl.col("reached") & pl.col("offer_id").is_not_null()
        return self._contacts("accepted", "answer_end", "offer_id", reached, later, "for_interest").signed(
            SIGNS["interest"]
        )

    def organic(self, later: bool = False) -> Dataset | None:
        """Does he take the product unasked? Of those drawn never to be contacted; None: there are none."""
        rows = self._takeup_rows(later)
        drawn = never_contacted(rows, read_history(self.home, "notes"), read_history(self.home, "contacts"))
        if drawn.is_empty() or not drawn["taken"].any():
            return None
        data = self._takeups("organic", later, pl.lit(value=True), drawn)
        return data.knowing(not_marking(data.names))

    def reach(self, later: bool = False) -> Dataset:
        """Was the customer reached? Items are channels."""
        return self._contacts("reached", "answer_end", "channel", pl.lit(value=True), later).signed(SIGNS["reach"])

    def harm(self, later: bool = False) -> Dataset:
        """Did the contact end in a complaint or an opt-out? Items are channels."""
        seen = self._contacts("harmed", "harm_end", "channel", pl.lit(value=True), later)
        return seen.knowing(HARM_FEATURES).signed(SIGNS["harm"])

    def churn(self, later: bool = False) -> Dataset:
        """Does the customer leave? One row per customer and month."""
        name = "later months" if later else "months"
        if name not in self._seen:
            self._seen[name] = self._looked_up(self._month_rows(later))
        return _dataset(self._seen[name], "churned", "label_end", later, weight="stands_for")

    def churn_rate(self) -> tuple[float, int]:
        """The share who leave within the window, over all ripe months, and the window's days."""
        rows = self._month_rows(later=False)
        left = rows.select(pl.col("stands_for").filter("churned").sum() / pl.col("stands_for").sum())
        rate = left.item() if len(rows) else None
        if not isinstance(rate, float):
            raise DatasetError("no month has a ripe `churned`; import more history or take a later --as-of")
        return rate, CHURN_DAYS if self._has_accounts else LAPSE_DAYS

    def churned_by_owner(self) -> pl.DataFrame:
        """Per unit, how many ripe months it was seen and in how many it left; both as rows they stand for."""
        rows = self._month_rows(later=False)
        left = pl.when("churned").then("stands_for").otherwise(0.0)
        return rows.group_by("unit_id").agg(pl.col("stands_for").sum().alias("months"), left.sum().alias("left"))

    def first_usable(self) -> datetime:
        """The first instant with enough history behind it for a row of features."""
        first = self._booked(self.cut)["booked_at"].min()
        if not isinstance(first, datetime):
            raise DatasetError("no transaction before the cut; import history or take a later --as-of")
        return first.replace(tzinfo=UTC) + timedelta(days=_RUN_IN_DAYS)

    def some_customers(self, most: int | None) -> pl.Series:
        """Ids of customers who had joined by the cut, at most so many by the hash of their id; sorted."""
        joined = self.customers.filter(pl.col("joined_on").is_null() | (pl.col("joined_on") <= self.cut.date()))
        ids = joined.select("customer_id").sort("customer_id")
        return (ids if most is None else sample_rows(ids, "customer_id", most))["customer_id"]

    def _contacts(self, label: str, end: str, item: str, keep: pl.Expr, later: bool,
                  weight: str = "for_channel") -> Dataset:  # fmt: skip
        name = "later contacts" if later else "contacts"
        if name not in self._seen:
            self._seen[name] = self._looked_up(self._contact_rows(later))
        return _dataset(self._seen[name], label, end, later, item, keep & pl.col(weight).is_not_null(), weight)

    def _takeups(self, what: str, later: bool, keep: pl.Expr, rows: pl.DataFrame | None = None) -> Dataset:
        name = f"later {what}" if later else what
        if name not in self._seen:
            rows = self._takeup_rows(later) if rows is None else rows
            key = pl.concat_str("customer_id", pl.col("as_of").dt.to_string("%Y%m%d"), "offer_id").alias(_KEY)
            drawn = weighted_sample(rows.with_columns(key), _KEY, TAKEUPS_MOST, pl.col("taken"), "stands_for")
            self._seen[name] = self._looked_up(drawn.filter(pl.col("stands_for").is_not_null()))
        return _dataset(self._seen[name], "taken", "label_end", later, "offer_id", keep, "stands_for")

    def _takeup_rows(self, later: bool) -> pl.DataFrame:
        until = self.home.now() if later else self.cut
        at = self._months(until) if self._has_accounts and self._products else []
        accounts, holders = (read_history(self.home, name) for name in ("accounts", "holders"))
        accounts = accounts.filter(pl.col("opened_on") < until.date())
        most = _TAKEUP_ROWS_MOST // max(1, len(at) * len(self._products))
        who = sample_rows(holders.select("customer_id").unique().sort("customer_id"), "customer_id", max(1, most))
        rows = takeup_labels(accounts, holders.join(who, on="customer_id", how="semi"), self._products, at, until)
        return self.allowed(rows.filter(pl.col("taken").is_not_null()), later)

    def _contact_rows(self, later: bool) -> pl.DataFrame:
        until = self.home.now() if later else self.cut
        contacts, outcomes = (read_history(self.home, name) for name in ("contacts", "outcomes"))
        cases, consents = (read_history(self.home, name) for name in ("cases", "consents"))
        rows = contact_labels(contacts, outcomes, cases, consents, until)
        if self.reach_unknown:
            ripe = pl.col("reached").is_not_null()
            rows = rows.with_columns(pl.when(ripe).then(True).alias("reached"))
        rows = self.allowed(rows.rename({"contact_id": _KEY}), later)
        rows = weighted_sample(rows, _KEY, CONTACTS_MOST, pl.col("harmed"), "for_channel")
        reached = weighted_sample(
            rows.filter(pl.col("reached").fill_null(False)), _KEY, REACHED_MOST, pl.col("accepted"), "for_interest"
        ).select(_KEY, "for_interest")
        marked = rows.join(reached, on=_KEY, how="left", maintain_order="left")
        return marked.filter(pl.col("for_channel").is_not_null() | pl.col("for_interest").is_not_null())

    def _months(self, until: datetime) -> list[datetime]:
        """The cuts of a customer's rows: first of each month with enough history behind it."""
        zone = self.home.settings.tz
        return months(self.first_usable().astimezone(zone), until.astimezone(zone))

    def _booked(self, until: datetime) -> pl.DataFrame:
        booked = read_history(self.home, "transactions", ["customer_id", "booked_at", "recorded_at"])
        return booked.filter(pl.col("recorded_at") <= until)

    def _month_rows(self, later: bool) -> pl.DataFrame:
        if later not in self._month_labels:
            self._month_labels[later] = self._made_month_rows(later)
        return self._month_labels[later]

    def _made_month_rows(self, later: bool) -> pl.DataFrame:
        until = self.home.now() if later else self.cut
        at = self._months(until)
        if self._has_accounts:
            accounts, holders = (read_history(self.home, name) for name in ("accounts", "holders"))
            rows = churn_labels(accounts, holders, at, until)
            moved = read_history(self.home, "transactions", [*LEAVING_COLUMNS, "recorded_at"])
            silent = gone_quiet(moved.filter(pl.col("recorded_at") <= until), holders, at, CHURN_DAYS)
            rows = rows.join(silent.with_columns(silent=True), on=["customer_id", "as_of"], how="left",
                             maintain_order="left")  # fmt: skip
            left = pl.col("churned") | pl.col("silent").fill_null(value=False)
            # INVARIANT: a young label stays unknown, also of who seems to be gone already.
            rows = rows.with_columns(pl.when(pl.col("churned").is_not_null()).then(left).alias("churned")).drop(
                "silent"
            )
        else:
            rows = lapse_labels(self._booked(until).drop("recorded_at"), at, until)
        rows = rows.filter(pl.col("churned").is_not_null())
        key = pl.concat_str("customer_id", pl.col("as_of").dt.to_string("%Y%m%d")).alias(_KEY)
        marked = weighted_sample(
            self.allowed(rows, later).with_columns(key), _KEY, MONTHS_MOST, pl.col("churned"), "stands_for"
        )
        return marked.filter(pl.col("stands_for").is_not_null())

    def allowed(self, rows: pl.DataFrame, later: bool = False) -> pl.DataFrame:
        """Rows (customer_id, as_of) that may be learned from, with unit_id and age_band; later: those after the cut."""
        if later:
            rows = rows.filter(pl.col("as_of") >= self.cut)
        units = self.customers.select(
            "customer_id", "birth_date", pl.coalesce("household_id", "customer_id").alias("unit_id"))  # fmt: skip
        allowed = who_may_be_learned_from(rows, self.customers)
        known = allowed.join(units, on="customer_id", maintain_order="left")
        return known.with_columns(age_band(pl.col("birth_date"), pl.col("as_of")).alias("age_band")).drop("birth_date")

    def _looked_up(self, rows: pl.DataFrame) -> Observed | None:
        if rows.is_empty():
            return None
        self._progress("looking up features", 0, len(rows))
        return observe(self.store, rows)

    def _harm_on_file(self) -> bool:
        complaints = read_history(self.home, "cases", ["kind"])["kind"]
        said = read_history(self.home, "consents", ["state"])["state"]
        return bool((complaints == "complaint").any() or (said == "withdrawn").any())


def not_marking(names: Sequence[str]) -> list[str]:
    """The features that do not tell by themselves who is held out: all but those of contacts and notes."""
    return [name for name in names if not name.startswith(_MARKS)]


def _dataset(seen: Observed | None, label: str, end: str, later: bool, item: str | None = None,
             keep: pl.Expr | None = None, weight: str | None = None) -> Dataset:  # fmt: skip
    if seen is None:
        raise DatasetError(f"no row to learn `{label}` from; import contacts or take a later --as-of")
    return labelled(seen, label, end=end, item=item, keep=keep, later=later, weight=weight)
