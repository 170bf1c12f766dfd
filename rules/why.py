"""Why a cell is closed: every reason, with the rules behind it, recomputed on demand for one customer."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from rules.closures import closure, rows
from rules.reasons import PRECEDENCE, Layer, ReasonCode
from rules.suppress import row_facts
from rules.terms import Terms


@dataclass(frozen=True)
class Closing:
    """One reason that closes the cell. rules: the ids of the policy's parts that say so."""

    reason: ReasonCode
    rules: tuple[str, ...]


def why_closed(
    customer: pa.RecordBatch, terms: Terms, cell: int, layers: tuple[Layer, ...] | None = None
) -> list[Closing]:
    """Everything that closes one cell for one customer, by precedence; [] where it is open.

    customer: CUSTOMERS and terms.state_schema, one row. layers: only reasons of these.
    """
    [row] = rows(customer, terms.program.types)
    found: dict[int, list[str]] = {}
    for step in terms.program.steps[customer.column("direction")[0].as_py()]:
        if step.cells >> cell & 1 and (truth := closure(step.when)(row)) is not False:
            found.setdefault(step.reason if truth else step.unknown, []).extend(step.rules)
    for rank, mask in row_facts(customer, terms):
        if bool(np.broadcast_to(mask, (1, terms.catalogue.n_cells))[0, cell]):
            found.setdefault(rank, []).append(PRECEDENCE[rank].slug)
    closings = [Closing(PRECEDENCE[rank], tuple(dict.fromkeys(ids))) for rank, ids in sorted(found.items())]
    return [c for c in closings if layers is None or c.reason.layer in layers]
