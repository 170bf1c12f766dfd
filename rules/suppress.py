"""Suppress: which cells stay open for each customer, and every reason for those that do not.

Steps run by precedence. A step whose condition is TRUE closes its cells for its reason, one that
is UNKNOWN closes them for its layer's `..._unknown`. Two ways to the same bits: closures for a few
rows, masks for many (a test ties them).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.chunks import over_chunks
from rules.closures import Reader, Row
from rules.draws import share_of
from rules.errors import SchemaError
from rules.masks import ALL_BITS, Bits, Masks, packed, unpacked
from rules.program import DIRECTIONS, Program
from rules.reasons import PRECEDENCE, RANK, ReasonCode
from rules.terms import Terms
from rules.types import CUSTOMERS

FEW = 64  # rows: closures and masks cost alike at about a hundred
CHUNK = 65_536  # rows, a multiple of 8: a column and the cells' masks stay in the second-level cache
N_RANKS = 64
N_READERS = 8
_ALL_ONES = 0xFFFF_FFFF_FFFF_FFFF


@dataclass
class Suppressed:
    """What suppress found, one row per customer.

    packed: (n, ceil(n_cells / 8)) uint8, bit k % 8 of byte k // 8: cell k is open. reasons: (n,) uint64,
    bit r is PRECEDENCE[r], the reasons met in any cell. decisive: (n,) int16, the rank of the reason that
    closed the last cell; -1 while one is open.
    """

    packed: np.ndarray
    n_cells: int
    reasons: np.ndarray
    decisive: np.ndarray

    @cached_property
    def open(self) -> np.ndarray:
        """(n, n_cells) bool, unpacked when first asked for."""
        if not len(self.packed):
            return np.zeros((0, self.n_cells), dtype=bool)
        return np.unpackbits(self.packed, axis=1, count=self.n_cells, bitorder="little").view(bool)


def suppress(customers: pa.RecordBatch, terms: Terms, rows: Sequence[Row] | None = None) -> Suppressed:
    """Close every cell a rule, a cap, a switch, a campaign or the holdout forbids.

    customers: CUSTOMERS and terms.state_schema, (n,). rows: the same customers' state as `terms.plain`
    reads it, where the caller has it at hand; a few customers are then not read again. Raises
    SchemaError where a column is missing or has another type, ValueError where rows are too few.
    """
    reader, n, n_cells = checked_reader(customers.schema, terms), customers.num_rows, terms.program.n_cells
    closed = np.zeros((n, -(-n_cells // 8)), np.uint8)
    found = Suppressed(closed, n_cells, np.zeros(n, np.uint64), np.full(n, -1, np.int16))
    if n <= FEW:
        _few(customers, terms, reader.rows(customers) if rows is None else rows, found)
    else:
        facts = row_facts(customers, terms)
        over_chunks(n, CHUNK, lambda start, stop: _many(customers, terms, facts, found, slice(start, stop)))
    return found


def checked_reader(schema: pa.Schema, terms: Terms) -> Reader:
    """A reader of batches of this schema; SchemaError naming the first column missing or of another type."""
    for known in terms.readers:
        if known.schema.equals(schema):
            return known
    for field in (*CUSTOMERS, *terms.state_schema):
        if field.name not in schema.names:
            raise SchemaError(f"customers' table has no column `{field.name}`; the engine needs it")
        if (given := schema.field(field.name).type) != field.type:
            raise SchemaError(f"column `{field.name}` is {given}; expected {field.type}")
    reader = Reader(schema, terms.plain)
    terms.readers[N_READERS - 1 :] = []  # a caller whose schema changes all the time pays the check, not memory
    terms.readers.insert(0, reader)
    return reader


class RowFact(NamedTuple):
    """Cells (bit set) that no rule but a fact of the row closes, and for whom: (n,) bool."""

    rank: int
    cells: int
    rows: np.ndarray


def row_facts(part: pa.RecordBatch, terms: Terms) -> list[RowFact]:
    """Closed by facts of the row rather than rules: channels not asked for, and the holdout."""
    facts: list[RowFact] = []
    asked = part.column("channels")
    if asked.null_count < len(asked):
        bits = np.asarray(pc.fill_null(asked, _ALL_ONES), dtype=np.uint64)
        for channel, cells in enumerate(terms.program.channel_cells):
            unasked = bits >> np.uint64(channel) & np.uint64(1) == 0
            facts.append(RowFact(RANK[ReasonCode.CHANNEL_NOT_ASKED], cells, unasked))
    if terms.holdout.share > 0:
        units = pc.run_end_encode(part.column("unit_id"))  # members stand together: one draw for all
        shares = share_of(terms.secret, "holdout", terms.holdout.season, units.values.to_pylist())
        ends = np.asarray(units.run_ends).astype(np.int64)
        held = np.repeat(shares < terms.holdout.share, ends - np.concatenate(([0], ends[:-1])))
        facts.append(RowFact(RANK[ReasonCode.HOLDOUT], terms.program.full, held))
    return facts


def _few(customers: pa.RecordBatch, terms: Terms, plain: Sequence[Row], found: Suppressed) -> None:
    facts, width = row_facts(customers, terms), found.packed.shape[1]
    for place, (row, direction) in enumerate(zip(plain, customers.column("direction").to_pylist(), strict=True)):
        closed = closed_row(terms.program, row, direction, [(f.rank, f.cells) for f in facts if f.rows[place]])
        found.packed[place] = np.frombuffer(closed.open.to_bytes(width, "little"), np.uint8)
        found.reasons[place], found.decisive[place] = closed.reasons, closed.decisive


class ClosedRow(NamedTuple):
    """What `Suppressed` says of one customer: open cells and reasons as bit sets, the decisive rank or -1."""

    open: int
    reasons: int
    decisive: int


def closed_row(program: Program, row: Row, direction: str, facts: Iterable[tuple[int, int]]) -> ClosedRow:
    """Close the cells of one customer by the rules of his direction and by facts: (rank, cells)."""
    if (conditions := program.closures.get(direction)) is None:
        return ClosedRow(0, 0, -1)  # neither outbound nor inbound: all closed, and no rule says why
    by_rank: dict[int, int] = {}
    for condition, reason, unknown, cells in conditions:
        truth = condition(row)
        if truth is not False:
            rank = reason if truth else unknown
            by_rank[rank] = by_rank.get(rank, 0) | cells
    for rank, cells in facts:
        by_rank[rank] = by_rank.get(rank, 0) | cells
    full, shut, seen, decisive = program.full, 0, 0, -1
    for rank in sorted(by_rank):
        if shut != full and (shut | by_rank[rank]) == full:
            decisive = rank
        shut |= by_rank[rank]
        seen |= 1 << rank
    return ClosedRow(full ^ shut, seen, decisive)


Where = slice | np.ndarray | None  # of the cells; None: all
Met = dict[int, list[tuple[Bits, Where]]]  # rank -> for whom, which cells


def _many(customers: pa.RecordBatch, terms: Terms, facts: list[RowFact], found: Suppressed, rows: slice) -> None:
    """Fill found's rows; a mask per cell, one bit per customer."""
    part, n = customers.slice(rows.start, rows.stop - rows.start), rows.stop - rows.start
    met, n_bytes = _met(part, [fact._replace(rows=fact.rows[rows]) for fact in facts], terms), -(-n // 8)
    closed = np.zeros((found.packed.shape[1] * 8, n_bytes), np.uint8)
    closed[terms.program.n_cells :] = ALL_BITS
    everything, cells_shut, shut = (np.zeros(n_bytes, np.uint8) for _ in range(3))
    reasons = np.zeros((N_RANKS, n_bytes), np.uint8)
    for rank in sorted(met):
        for bits, where in met[rank]:
            reasons[rank] |= bits
            if where is None:
                everything |= bits
            else:
                closed[where] |= bits
        if any(where is not None for _, where in met[rank]):
            cells_shut = np.bitwise_and.reduce(closed, axis=0)
        now = everything | cells_shut
        if (fresh := now & ~shut).any():
            np.copyto(found.decisive[rows], rank, where=unpacked(fresh, n))
        shut = now
    closed |= everything
    found.packed[rows] = _turned(~closed)[:n]
    found.reasons[rows] = _turned(reasons)[:n].view(np.uint64)[:, 0]
    strangers = ~np.asarray(pc.is_in(part.column("direction"), value_set=pa.array(DIRECTIONS)))
    if strangers.any():  # neither outbound nor inbound: all closed, and no rule says why
        for of, nothing in ((found.packed, 0), (found.reasons, 0), (found.decisive, -1)):
            of[rows][strangers] = nothing


def _met(part: pa.RecordBatch, facts: list[RowFact], terms: Terms) -> Met:
    """Every reason met, each with whom and which cells it closes."""
    program, met, sides = terms.program, Met(), _sides(part)
    masks = Masks(part, program.types)
    for when, closings in program.checks:
        here = [closing for closing in closings if closing.direction in sides]
        if not here:
            continue
        true, unknown = masks.bits(when)
        for closing in here:
            side = sides[closing.direction]
            met.setdefault(closing.reason, []).append((true if side is None else true & side, closing.where))
            if unknown is not None:
                dark = unknown if side is None else unknown & side
                met.setdefault(closing.unknown, []).append((dark, closing.where))
    for fact in facts:
        if fact.rows.any():
            met.setdefault(fact.rank, []).append((packed(fact.rows), program.where(fact.cells)))
    return {rank: kept for rank, found in met.items() if (kept := [one for one in found if one[0].any()])}


def _sides(part: pa.RecordBatch) -> dict[str | None, Bits | None]:
    """Whose direction is which, None for everybody's; a direction nobody has is left out."""
    sides: dict[str | None, Bits | None] = {None: None}
    for direction in DIRECTIONS:
        bits = np.asarray(pc.fill_null(pc.equal(part.column("direction"), direction), False))
        if bits.all():
            sides[direction] = None
        elif bits.any():
            sides[direction] = packed(bits)
    return sides


def _turned(masks: np.ndarray) -> np.ndarray:
    """(8 k, n / 8) masks as (n, k) bytes: bit j of byte i of a row is the row's bit in mask 8 i + j.

    Each 8 x 8 block of bits is a 64-bit word, turned by three exchanges of its quarters.
    Source: H. S. Warren, Hacker's Delight, 2nd edition, section 7-3.
    """
    blocks = masks.reshape(-1, 8, masks.shape[1]).transpose(0, 2, 1)
    words = np.ascontiguousarray(blocks).view("<u8")[:, :, 0]
    for chosen, shift in ((0x00AA00AA00AA00AA, 7), (0x0000CCCC0000CCCC, 14), (0x00000000F0F0F0F0, 28)):
        apart = (words ^ (words >> np.uint64(shift))) & np.uint64(chosen)
        words ^= apart ^ (apart << np.uint64(shift))
    return np.ascontiguousarray(words.view(np.uint8).T)


def codes_of(bits: int) -> list[ReasonCode]:
    """The reasons of a set, by precedence."""
    return [code for rank, code in enumerate(PRECEDENCE) if bits >> rank & 1]
