"""Choosers: who competes for a contact as one - a customer, or the members of a unit who close each other.

A contact of one member raises the unit's counters. Members of whom that leaves no cell open can have at
most one contact between them: they are one chooser, so that the household's cap is in the bound.
"""

import numpy as np
import pyarrow as pa

from rules.masks import numbers
from rules.suppress import Suppressed, suppress
from rules.terms import Terms


def choosers_of(customers: pa.RecordBatch, found: Suppressed, terms: Terms) -> np.ndarray:
    """(n,) int64: the row number of each row's chooser - its own, or the first of those it excludes.

    Raised are only the counters that every contact raises: whoever is closed by them is closed by any contact.
    """
    n = customers.num_rows
    own = np.arange(n)
    units = np.asarray(customers.column("unit_id").dictionary_encode().indices).astype(np.int64)
    open_ = found.decisive < 0
    rivals = np.flatnonzero(open_ & (np.bincount(units[open_], minlength=n)[units] > 1))
    raised = [count.name for count in terms.policy.counts(terms.catalogue)
              if count.unit and not (count.channel or count.family or count.offer or count.campaign) and count.name in terms.state_schema.names]  # fmt: skip
    if not len(rivals) or not raised:
        return own
    part = customers.take(pa.array(rivals))
    for name in raised:
        place = part.schema.get_field_index(name)
        more = pa.array(numbers(part.column(place)) + 1.0, from_pandas=True)
        part = part.set_column(place, part.schema.field(place), more)
    yields = rivals[suppress(part, terms).decisive >= 0]
    first = np.full(n, n)
    np.minimum.at(first, units[yields], yields)
    own[yields] = first[units[yields]]
    return own
