"""The certificate: how good a list is, with all that is needed to prove it again (`serving.lists.check`).

    bound = sum over choosers of max(0, best of gross - price of its limits) + sum over limits of price x room

Whatever prices are told, they prove it (weak duality).

The open cells stand beside it in cells.parquet: one row per customer who has any.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from rules.line import Line
from rules.terms import Terms
from serving.lists.allocate import SCALE, Short
from serving.lists.clearing import Cleared, kinds_of
from serving.lists.limits import CONTACT, COST, Limit


class LimitUse(BaseModel):
    """One limit of the run. price_milli: what one more unit is worth, thousandths of a minor unit.

    at_least: what the list was held to; asked: the minimum as it was written, where that is not possible; held_by: the
    limits that keep it from being more, none where no more customers may be offered it; beside: the other minimums, where
    they take what is possible and not kept.
    """

    name: str
    where: dict[str, str]
    unit: str
    at_most: int | None = None
    at_least: int | None = None
    asked: int | None = None
    possible: int | None = None
    held_by: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    used: int
    price_milli: int


class Certificate(BaseModel):
    """How good the list is. bound_minor: no list over all open cells that keeps every limit is worth more.

    gap_share: the part of the bound the list misses. Explorers compete with the cell they drew alone: drawn_bound_minor
    is the bound of such lists, and what lies between the two bounds the most that exploring can have cost.
    cells: the attributes of cell 0, 1, ... of cells.parquet.
    """

    value_minor: int
    bound_minor: int
    gap_share: float
    drawn_bound_minor: int
    scale: int = SCALE
    limits: list[LimitUse]
    cells: list[dict[str, str | int]]

    def short(self) -> list[Line]:
        """The minimums no list can keep, one line each, and what keeps them from being more."""
        return [_short(limit) for limit in self.limits if limit.asked is not None]


def _short(limit: LimitUse) -> Line:
    names = ", ".join(f"`{name}`" for name in limit.held_by)
    why, wherefore = (
        (f"held back by {names}", f"受限于 {names}")
        if names
        else ("nobody else may be offered it", "没有其他可营销客户")
    )
    others = ", ".join(f"`{name}`" for name in limit.beside)
    en, zh = (f"; {others} take the rest", f"，其余为 {others} 所用") if others else ("", "")
    return Line(en=f"minimum `{limit.name}` asks for {limit.asked:,}: at most {limit.possible:,} are possible ({why}); held to {limit.at_least:,}{en}",
                zh=f"最低量 `{limit.name}` 要求 {limit.asked:,}：最多可达 {limit.possible:,}（{wherefore}）；按 {limit.at_least:,} 执行{zh}")  # fmt: skip


def make_certificate(terms: Terms, cleared: Cleared, decisions: pa.Table, worth: np.ndarray) -> Certificate:
    """The certificate of the list as issued. decisions: DECISIONS in the run's order; worth: (n,)."""
    won = np.asarray(pc.is_valid(decisions.column("offer_id")))
    value, bound = int(worth[won].sum()), cleared.all_bound_minor
    return Certificate(
        value_minor=value, bound_minor=bound, gap_share=round((bound - value) / max(abs(bound), 1), 6),
        drawn_bound_minor=cleared.allocation.bound_minor, limits=_limit_uses(cleared, _used(terms, cleared, won)),
        cells=kinds_of(terms))  # fmt: skip


def cells_table(cleared: Cleared, customer_ids: pa.ChunkedArray) -> pa.Table:
    """Every open cell of the run: customer, chooser, drawn cell (null: none), attributes, cells and gross values."""
    market = cleared.market
    rows = np.flatnonzero(market.counts)
    ends = pa.array(np.concatenate(([0], np.cumsum(market.counts[rows]))), pa.int32())
    names = sorted({name for person in market.customers for name in person})
    who = pa.array(market.people[rows])
    columns = {
        "customer_id": customer_ids.take(pa.array(rows)),
        "chooser": pa.array(market.chooser[rows], pa.int32()),
        "drawn": pa.array(cleared.drawn[rows], pa.int16(), mask=cleared.drawn[rows] < 0),
        **{name: pa.array([person[name] for person in market.customers], pa.string()).take(who).dictionary_encode() for name in names},
        "cell": pa.ListArray.from_arrays(ends, pa.array(market.cell)),
        "gross_minor": pa.ListArray.from_arrays(ends, pa.array(market.gross)),
    }  # fmt: skip
    return pa.table(columns)


def _used(terms: Terms, cleared: Cleared, won: np.ndarray) -> list[int]:
    """Units of each limit that the issued contacts use."""
    kinds, cell = kinds_of(terms), cleared.cell
    amounts: list[int] = []
    for limit in cleared.limits:
        of_cell = np.array([0 if any(k in kind and kind[k] != v for k, v in limit.where.items())
                            else 1 if limit.unit == CONTACT else int(kind[COST]) for kind in kinds], np.int64)  # fmt: skip
        who = np.array(
            [
                all(person.get(k) == v for k, v in limit.where.items() if k in person)
                for person in cleared.market.customers
            ]
        )
        rows = won & who[cleared.market.people]
        amounts.append(int(of_cell[cell[rows]].sum()))
    return amounts


def _limit_uses(cleared: Cleared, used: list[int]) -> list[LimitUse]:
    short = {found.limit: found for found in cleared.allocation.short}
    room, price = cleared.allocation.room.tolist(), cleared.allocation.price.tolist()
    rows = zip(cleared.limits, room, price, used, strict=True)
    return [_limit_use(limit, held, paid, much, short.get(limit.name)) for limit, held, paid, much in rows]


def _limit_use(limit: Limit, room: int, price: int, used: int, short: Short | None) -> LimitUse:
    asked, possible, held_by, beside = (
        (None, None, (), ()) if short is None else (short.asked, short.possible, short.held_by, short.beside)
    )
    return LimitUse(name=limit.name, where=limit.where, unit=limit.unit, at_most=limit.at_most,
                    at_least=-room if limit.minimum else None, asked=asked, possible=possible, held_by=held_by, beside=beside, used=used, price_milli=price)  # fmt: skip
