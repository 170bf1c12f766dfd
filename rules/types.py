"""The one idea: a decision is a pure function of a table. Read this file first.

CUSTOMERS (one row per customer, whole units) and Terms go in; DECISIONS (one row per customer,
in input order) come out. State columns - the facts the policy's rules name - follow the fixed
columns of CUSTOMERS; which ones, the policy says (`Terms.state_schema`). SCORES come from a
callback, asked only once the engine knows which cells (offer x channel) are still open.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from rules.terms import Terms

INSTANT = pa.timestamp("us", "UTC")

CUSTOMERS = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("unit_id", pa.string(), nullable=False),  # household, else person; never split
        pa.field("as_of", INSTANT, nullable=False),  # what the decision may know
        pa.field("local_day", pa.date32()),  # in the customer's zone; one exploration draw a day
        pa.field("direction", pa.string(), nullable=False),  # outbound | inbound
        pa.field("channels", pa.uint64()),  # bit k: channel k was asked for; null: all
        pa.field("send_after", INSTANT),  # the window a contact would be sent in
        pa.field("send_before", INSTANT),
    ]
)


def scores_schema(n_offers: int, n_channels: int) -> pa.Schema:
    """What a Score callback returns: probabilities in [0, 1], money in minor units, null unknown."""
    offers, channels = pa.list_(pa.float64(), n_offers), pa.list_(pa.float64(), n_channels)
    return pa.schema([("p_interest", offers), ("p_organic", offers), ("p_reach", channels),
                      ("p_harm", channels), ("p_churn", pa.float64()),
                      ("lifetime_value_minor", pa.float64())])  # fmt: skip


FACTORS = pa.struct([(name, pa.float64()) for name in (
    "p_interest", "p_reach", "p_organic", "margin_minor", "cost_minor", "p_harm", "p_churn",
    "lifetime_value_minor", "save_rate", "context", "lever", "bid_price_minor")])  # fmt: skip

DECISIONS = pa.schema([
    *(CUSTOMERS.field(name) for name in ("customer_id", "unit_id", "as_of")),
    *((name, pa.string()) for name in ("offer_id", "channel", "treatment", "campaign_id")),
    ("send_after", INSTANT), ("send_before", INSTANT),
    ("expected_value_minor", pa.int64()), ("p_accept", pa.float64()), ("p_chosen", pa.float64()),
    ("explored", pa.bool_()), ("factors", FACTORS), ("n_open", pa.int16()),
    ("reason", pa.int16()),  # the reason that closed the last cell; null iff an offer won
    ("reasons", pa.list_(pa.int16())),  # all reasons met, by precedence; empty iff an offer won
    ("terms", pa.string()),
])  # fmt: skip

Score = Callable[[pa.RecordBatch, np.ndarray], pa.RecordBatch]  # (customers, open cells) -> SCORES
Decide = Callable[[pa.RecordBatch, "Terms", Score], pa.RecordBatch]
