"""The funnel of a run: how many customers each layer leaves, and which reasons did it."""

from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field

from rules.reasons import PRECEDENCE, Layer, ReasonCode

N = Annotated[int, Field(ge=0)]


class Funnel(BaseModel):
    """Counts of customers. after: those with an open cell after each layer, in the layers' order.

    decisive: by the reason that closed a customer's last cell, they add up to the silent ones.
    met: customers who met the reason in any cell, silent ones alone.
    """

    customers: N
    after: dict[str, N]
    chosen: N
    holdout: N
    decisive: dict[str, N]
    met: dict[str, N]


def funnel(decisions: pa.Table) -> Funnel:
    """Count a run's DECISIONS."""
    counts = {
        row["values"]: row["counts"]
        for row in pc.value_counts(decisions.column("reason")).to_pylist()
        if row["values"] is not None
    }
    met = {
        row["values"]: row["counts"]
        for row in pc.value_counts(pc.list_flatten(decisions.column("reasons"))).to_pylist()
    }
    left, after = decisions.num_rows, {}
    for layer in Layer:
        left -= sum(count for number, count in counts.items() if ReasonCode(number).layer is layer)
        after[layer.value] = left
    chosen = len(decisions) - decisions.column("offer_id").null_count
    return Funnel(customers=len(decisions), after=after, chosen=chosen, holdout=counts.get(int(ReasonCode.HOLDOUT), 0),
                  decisive={code.slug: counts[code] for code in PRECEDENCE if code in counts},
                  met={code.slug: met[code] for code in PRECEDENCE if code in met})  # fmt: skip
