"""Suppress: which cells stay open for each customer, and every reason for those that do not.

Steps run by precedence. A step whose condition is TRUE closes its cells for its reason, one that
is UNKNOWN closes them for its layer's `..._unknown`. Two ways to the same bits: closures for a few
rows, masks for many (a test ties them).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.closures import closure, rows
from rules.draws import share_of
from rules.errors import SchemaError
from rules.masks import Masks
from rules.program import Program, Step
from rules.reasons import PRECEDENCE, RANK, ReasonCode
from rules.terms import Terms
from rules.types import CUSTOMERS

FEW = 16
WORD = 64
_ALL_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@dataclass
class Suppressed:
    """What suppress found, one row per customer.

    open: (n, n_cells) bool. reasons: (n,) uint64, bit r is PRECEDENCE[r], the reasons met in any
    cell. decisive: (n,) int16, the rank of the reason that closed the last cell; -1 while one is open.
    """

    open: np.ndarray
    reasons: np.ndarray
    decisive: np.ndarray


def suppress(customers: pa.RecordBatch, terms: Terms) -> Suppressed:
    """Close every cell a rule, a cap, a switch, a campaign or the holdout forbids.

    customers: CUSTOMERS and terms.state_schema, (n,). Raises SchemaError where a column is missing
    or has another type.
    """
    check_schema(customers, terms)
    program, n = terms.program, customers.num_rows
    found = Suppressed(np.zeros((n, program.n_cells), dtype=bool), np.zeros(n, np.uint64), np.full(n, -1, np.int16))
    directions = customers.column("direction")
    for direction, steps in program.steps.items():
        chosen = np.flatnonzero(np.asarray(pc.equal(directions, direction)))
        if not len(chosen):
            continue
        part = customers if len(chosen) == n else customers.take(pa.array(chosen))
        extra = row_facts(part, terms)
        few = len(chosen) <= FEW
        closed, reasons, decisive = (_few if few else _many)(part, program, steps, extra)
        found.open[chosen] = ~closed
        found.reasons[chosen], found.decisive[chosen] = reasons, decisive
    return found


def check_schema(customers: pa.RecordBatch, terms: Terms) -> None:
    """SchemaError naming the first column that is missing or of another type."""
    for field in (*CUSTOMERS, *terms.state_schema):
        if field.name not in customers.schema.names:
            raise SchemaError(f"customers' table has no column `{field.name}`; the engine needs it")
        if (given := customers.schema.field(field.name).type) != field.type:
            raise SchemaError(f"column `{field.name}` is {given}; expected {field.type}")


Extra = list[tuple[int, np.ndarray]]  # (rank, (n, n_cells) bool or (n, 1)): closed by what is no rule


def row_facts(part: pa.RecordBatch, terms: Terms) -> Extra:
    """Closed by facts of the row rather than rules: channels not asked for, and the holdout."""
    catalogue = terms.catalogue
    extra: Extra = []
    asked = part.column("channels")
    if asked.null_count < len(asked):
        bits = np.asarray(pc.fill_null(asked, int(_ALL_ONES)), dtype=np.uint64)
        channel = np.arange(catalogue.n_cells, dtype=np.uint64) % np.uint64(len(catalogue.channels))
        extra.append((RANK[ReasonCode.CHANNEL_NOT_ASKED], (bits[:, None] >> channel & np.uint64(1)) == 0))
    if terms.holdout.share > 0:
        shares = share_of(terms.secret, "holdout", terms.holdout.season, part.column("unit_id").to_pylist())
        extra.append((RANK[ReasonCode.HOLDOUT], (shares < terms.holdout.share)[:, None]))
    return extra


def _few(
    part: pa.RecordBatch, program: Program, steps: tuple[Step, ...], extra: Extra
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = part.num_rows
    closed = np.zeros((n, program.n_cells), dtype=bool)
    reasons, decisive = np.zeros(n, np.uint64), np.full(n, -1, np.int16)
    conditions = [(closure(step.when), step) for step in steps]
    for place, row in enumerate(rows(part, program.types)):
        by_rank: dict[int, int] = {}
        for condition, step in conditions:
            truth = condition(row)
            if truth is not False:
                rank = step.reason if truth else step.unknown
                by_rank[rank] = by_rank.get(rank, 0) | step.cells
        for rank, mask in extra:
            bits = int.from_bytes(
                np.packbits(np.broadcast_to(mask[place], program.n_cells), bitorder="little").tobytes(), "little"
            )
            if bits:
                by_rank[rank] = by_rank.get(rank, 0) | bits
        shut, seen = 0, 0
        for rank in sorted(by_rank):
            shut |= by_rank[rank]
            seen |= 1 << rank
            if shut == program.full and decisive[place] < 0:
                decisive[place] = rank
        reasons[place] = seen
        packed = np.frombuffer(shut.to_bytes(-(-program.n_cells // 8), "little"), np.uint8)
        closed[place] = np.unpackbits(packed, count=program.n_cells, bitorder="little")
    return closed, reasons, decisive


def _many(
    part: pa.RecordBatch, program: Program, steps: tuple[Step, ...], extra: Extra
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, n_words = part.num_rows, -(-program.n_cells // WORD)
    masks = Masks(part, program.types)
    full = _words(program.full, n_words)
    by_rank: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for step in steps:
        true, false = masks.truth(step.when)
        cells = _words(step.cells, n_words)
        if true.any():
            by_rank.setdefault(step.reason, []).append((true, cells))
        unknown = ~(true | false)
        if unknown.any():
            by_rank.setdefault(step.unknown, []).append((unknown, cells))
    for rank, mask in extra:
        bits = np.packbits(np.broadcast_to(mask, (n, program.n_cells)), axis=1, bitorder="little")
        padded = np.zeros((n, n_words * 8), np.uint8)
        padded[:, : bits.shape[1]] = bits
        by_rank.setdefault(rank, []).append((np.asarray(mask.any(axis=1)), padded.view(np.uint64).T))
    closed = np.zeros((n_words, n), np.uint64)
    reasons, decisive = np.zeros(n, np.uint64), np.full(n, -1, np.int16)
    for rank in sorted(by_rank):
        for rows_, cells in by_rank[rank]:
            spread = np.where(rows_, _ALL_ONES, np.uint64(0))
            for word in range(n_words):
                if np.ndim(cells[word]) or cells[word]:
                    closed[word] |= spread & cells[word]
            reasons |= spread & np.uint64(1 << rank)
        shut = (closed == full[:, None]).all(axis=0)
        decisive[shut & (decisive < 0)] = rank
    bytes_ = np.ascontiguousarray(closed.T).view(np.uint8)
    return np.unpackbits(bytes_, axis=1, count=program.n_cells, bitorder="little").view(bool), reasons, decisive


def _words(bits: int, n_words: int) -> np.ndarray:
    return np.array([bits >> (WORD * word) & int(_ALL_ONES) for word in range(n_words)], np.uint64)


def codes_of(bits: int) -> list[ReasonCode]:
    """The reasons of a set, by precedence."""
    return [code for rank, code in enumerate(PRECEDENCE) if bits >> rank & 1]
