"""What customers answered to the offers of a family: ripe, of those reached, of those who may be learned from."""

from collections.abc import Sequence

import polars as pl

from features.home import Home
from training.history import read_history
from training.labels import contact_labels, who_may_be_learned_from


def ripe_answers(home: Home, offers: Sequence[str]) -> pl.DataFrame:
    """Every contact with the offers that was reached and is ripe at the home's present.

    Columns: contact_id, customer_id, unit_id, offer_id, as_of, answer_end, accepted.
    """
    contacts, outcomes, cases, consents, customers = (
        read_history(home, name) for name in ("contacts", "outcomes", "cases", "consents", "customers"))  # fmt: skip
    rows = contact_labels(contacts, outcomes, cases, consents, home.now())
    rows = rows.filter(pl.col("offer_id").is_in(list(offers)), pl.col("reached").fill_null(False))
    units = customers.select("customer_id", pl.coalesce("household_id", "customer_id").alias("unit_id"))
    allowed = who_may_be_learned_from(rows, customers).join(units, on="customer_id", how="left", maintain_order="left")
    return allowed.select("contact_id", "customer_id", "unit_id", "offer_id", "as_of", "answer_end", "accepted")
