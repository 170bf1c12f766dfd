"""Why a cell is closed: every reason, with the rules behind it, recomputed on demand for one customer."""

from dataclasses import dataclass

import pyarrow as pa

from rules.closures import Row, closure
from rules.reasons import PRECEDENCE, Layer, ReasonCode
from rules.suppress import checked_reader, row_facts
from rules.terms import Terms


@dataclass(frozen=True)
class Closing:
    """One reason that closes the cell. rules: the ids of the policy's parts that say so."""

    reason: ReasonCode
    rules: tuple[str, ...]


def why_closed(
    customer: pa.RecordBatch,
    terms: Terms,
    cell: int,
    layers: tuple[Layer, ...] | None = None,
    row: Row | None = None,
) -> list[Closing]:
    """Everything that closes one cell for one customer, by precedence; [] where it is open.

    customer: CUSTOMERS and terms.state_schema, one row. layers: only reasons of these. row: the customer's
    state as `terms.plain` reads it, where the caller has it at hand.
    """
    if row is None:
        [row] = checked_reader(customer.schema, terms).rows(customer)
    found: dict[int, list[str]] = {}
    for step in terms.program.steps[customer.column("direction")[0].as_py()]:
        if step.cells >> cell & 1 and (truth := closure(step.when)(row)) is not False:
            found.setdefault(step.reason if truth else step.unknown, []).extend(step.rules)
    for rank, cells, who in row_facts(customer, terms):
        if cells >> cell & 1 and who[0]:
            found.setdefault(rank, []).append(PRECEDENCE[rank].slug)
    closings = [Closing(PRECEDENCE[rank], tuple(dict.fromkeys(ids))) for rank, ids in sorted(found.items())]
    return [c for c in closings if layers is None or c.reason.layer in layers]
