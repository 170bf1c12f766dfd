"""Decide for a few customers of different units, in plain Python: what `rules.decide` says of each, an order sooner.

One row as an Arrow batch costs more than its decision. Nobody else of his unit is decided with him, so there
is nothing to resolve. A test ties the two roads on generated customers, reason for reason and bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rules.closures import Closure, Row, closure
from rules.draws import share_of_one
from rules.reasons import PRECEDENCE, RANK, ReasonCode
from rules.suppress import ClosedRow, closed_row
from rules.terms import Terms
from rules.window import cut_window
from rules.worth import Scored, each_of, worth_of

EPOCH, MICRO = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_CODES = tuple(int(code) for code in PRECEDENCE)


@dataclass(frozen=True)
class Alone:
    """CUSTOMERS of one customer, and his state.

    channels: the bits of those asked for. time_zone: as the batch has it. row: the state as `terms.plain` reads it.
    """

    customer_id: str
    unit_id: str
    as_of: datetime
    local_day: date | None
    direction: str
    channels: int | None
    send_after: datetime | None
    send_before: datetime | None
    time_zone: str | None
    row: Row


class DecidedAlone(NamedTuple):
    """decision: DECISIONS as a mapping. open: bit set of open cells. worth: (n_cells,), before bid prices, NaN unknown."""

    decision: dict[str, Any]
    open: int
    worth: np.ndarray


ScoreFew = Callable[[np.ndarray], Scored]  # open cells (n, n_cells) -> the scores of the customers


def decide_alone(who: Alone, terms: Terms, score: ScoreFew) -> DecidedAlone:
    """`decide_few` of one customer."""
    return decide_few([who], terms, score)[0]


def decide_few(people: Sequence[Alone], terms: Terms, score: ScoreFew) -> list[DecidedAlone]:
    """Choose at most one offer and channel for each; `score` is called once, null scores close what depends on them.

    No two of them are of one unit: nobody sees what another of his household is offered.
    """
    program = terms.program
    closed = [closed_row(program, who.row, who.direction, _facts(who, terms)) for who in people]
    width = -(-program.n_cells // 8)
    packed = np.frombuffer(b"".join([each.open.to_bytes(width, "little") for each in closed]), np.uint8)
    bits = np.unpackbits(packed.reshape(len(people), width), axis=1, count=program.n_cells, bitorder="little")
    open_ = bits.view(bool)
    scored = score(open_)
    worth = worth_of(scored, terms)
    each = zip(people, closed, each_of(scored), worth, _arbitrated(people, terms, open_, worth), strict=True)
    return [_settled(who, terms, of, his, values, best) for who, of, his, values, best in each]


def _settled(
    who: Alone, terms: Terms, closed: ClosedRow, scored: Scored, worth: np.ndarray, best: "_Best"
) -> DecidedAlone:
    """scored, worth: his alone. best: what is best for him where a cell is open."""
    if closed.decisive >= 0:
        best = _SILENT
    reasons, decisive = _reasons(closed, best)
    won = best.cell >= 0
    place, where = divmod(best.cell, terms.program.n_channels) if won else (0, 0)
    offer, channel = terms.catalogue.offers[place], terms.catalogue.channels[where]
    factors = _factors(terms, scored, place, where) if won else None
    decision = {
        "customer_id": who.customer_id, "unit_id": who.unit_id, "as_of": who.as_of,
        "offer_id": offer.id if won else None, "channel": channel.id if won else None,
        "treatment": terms.treatments[best.cell] if won else None, "campaign_id": _campaign(who, terms, best.cell) if won else None,
        "send_after": who.send_after if won else None, "send_before": _send_before(who, terms, best.cell) if won else None,
        "expected_value_minor": best.minor if won else None,
        "p_accept": factors["p_interest"] * factors["p_reach"] if factors else None,
        "p_chosen": best.p_chosen, "explored": best.explored, "factors": factors,
        "n_open": closed.open.bit_count(), "reason": None if decisive < 0 else _CODES[decisive],
        "reasons": [code for rank, code in enumerate(_CODES) if reasons >> rank & 1], "terms": terms.revision,
    }  # fmt: skip
    return DecidedAlone(decision, closed.open, worth)


def ranked(found: DecidedAlone, terms: Terms) -> list[tuple[int, int]]:
    """(cell, value) of every open cell worth more than its bid price, the best first, ties to the lower cell."""
    worth, prices = found.worth.tolist(), terms.prices
    priced = ((cell, worth[cell] - prices[cell] if prices else worth[cell]) for cell in cells_of(found.open))
    return sorted(((cell, int(value)) for cell, value in priced if value > 0), key=lambda each: (-each[1], each[0]))


def cells_of(bits: int) -> list[int]:
    """The cells of a bit set, ascending."""
    found: list[int] = []
    while bits:
        lowest = bits & -bits
        found.append(lowest.bit_length() - 1)
        bits ^= lowest
    return found


def _facts(who: Alone, terms: Terms) -> list[tuple[int, int]]:
    """What `rules.suppress.row_facts` says of him."""
    found: list[tuple[int, int]] = []
    if who.channels is not None:
        rank = RANK[ReasonCode.CHANNEL_NOT_ASKED]
        found += [
            (rank, cells) for place, cells in enumerate(terms.program.channel_cells) if not who.channels >> place & 1
        ]
    held_out = terms.holdout
    if held_out.share > 0 and share_of_one(terms.secret, "holdout", held_out.season, who.unit_id) < held_out.share:
        found.append((RANK[ReasonCode.HOLDOUT], terms.program.full))
    return found


class _Best(NamedTuple):
    """What `rules.arbitrate.Choice` says of him."""

    cell: int
    minor: int
    p_chosen: float
    explored: bool
    scored: bool
    unscored: bool
    wanted: bool


_SILENT = _Best(-1, 0, 1.0, explored=False, scored=False, unscored=False, wanted=False)


def _arbitrated(people: Sequence[Alone], terms: Terms, open_: np.ndarray, worth: np.ndarray) -> list[_Best]:
    """Each one's best open cell of positive value, ties to the lower cell, or one drawn to explore."""
    known = open_ & ~np.isnan(worth)  # NaN: a score is missing
    priced = worth - np.array(terms.prices) if terms.prices else worth
    offered = np.where(known, priced, 0.0)
    offered[offered < 0] = 0.0
    cells = offered.argmax(axis=1)  # the first of equals
    tops = offered[np.arange(len(people)), cells].tolist()
    n_known = known.sum(axis=1)
    unscored = (open_.sum(axis=1) > n_known).tolist()
    scored, wanted = (n_known > 0).tolist(), ((known & (worth > 0)).sum(axis=1) > 0).tolist()
    found: list[_Best] = []
    for place, who in enumerate(people):
        top = tops[place]
        best = _Best(int(cells[place]) if top > 0 else -1, int(top), 1.0, explored=False, scored=scored[place],
                     unscored=unscored[place], wanted=wanted[place])  # fmt: skip
        if top > 0 and terms.exploration.share > 0 and who.local_day is not None:
            best = _explored(who, terms, best, offered[place])
        found.append(best)
    return found


def _explored(who: Alone, terms: Terms, best: _Best, offered: np.ndarray) -> _Best:
    share, floor = terms.exploration.share, max(best.minor - terms.exploration.max_loss_minor, 1)
    pool = np.flatnonzero(offered >= floor)
    if len(pool) < 2:
        return best
    name = f"{who.unit_id}\x1f{who.customer_id}\x1f{who.local_day}"
    drawn = share_of_one(terms.secret, "explore", terms.revision, name)
    chance = share / len(pool)
    if drawn >= share:
        return best._replace(p_chosen=1.0 - share + chance)
    cell = int(pool[min(int(drawn / share * len(pool)), len(pool) - 1)])
    return best._replace(
        cell=cell,
        minor=int(offered[cell]),
        p_chosen=1.0 - share + chance if cell == best.cell else chance,
        explored=True,
    )


def _reasons(closed: ClosedRow, best: _Best) -> tuple[int, int]:
    """(bit set of reasons, decisive rank): none where an offer won."""
    if best.cell >= 0:
        return 0, -1
    reasons, decisive = closed.reasons, closed.decisive
    if best.unscored:
        reasons |= 1 << RANK[ReasonCode.NOT_SCORED]
    if decisive < 0:
        code = ReasonCode.NO_CAPACITY if best.wanted else ReasonCode.NO_VALUE
        decisive = RANK[code if best.scored else ReasonCode.NOT_SCORED]
        reasons |= 1 << decisive
    return reasons, decisive


def _factors(terms: Terms, scored: Scored, place: int, where: int) -> dict[str, Any]:
    """FACTORS of the winner, null where the value has none."""
    offer, channel = terms.catalogue.offers[place], terms.catalogue.channels[where]
    churn = float(scored.p_churn)
    return {
        "p_interest": float(scored.p_interest[place]), "p_reach": float(scored.p_reach[where]),
        "p_organic": float(scored.p_organic[place]), "margin_minor": float(offer.margin_minor),
        "cost_minor": float(channel.cost_minor), "p_harm": float(scored.p_harm[where]),
        "p_churn": None if churn != churn else churn,  # noqa: PLR0124
        "lifetime_value_minor": float(scored.lifetime_value_minor),
        "save_rate": None if offer.save_rate is None else float(offer.save_rate), "context": 1.0, "lever": float(offer.lever),
        "bid_price_minor": float(terms.prices[place * terms.program.n_channels + where]) if terms.prices else 0.0}  # fmt: skip


def _campaign(who: Alone, terms: Terms, cell: int) -> str | None:
    """The first running campaign that covers the cell and has the customer in its audience."""
    for name, cells, belongs in _running(terms):
        if cells >> cell & 1 and belongs(who.row):
            return name
    return None


@lru_cache(maxsize=32)
def _running(terms: Terms) -> tuple[tuple[str, int, Closure], ...]:
    audiences = (a for a in terms.program.audiences if f"campaign:{a.campaign_id}" not in terms.paused)
    return tuple((a.campaign_id, a.cells, closure(a.when)) for a in audiences)


def _send_before(who: Alone, terms: Terms, cell: int) -> datetime | None:
    """The end of his send window, earlier where the clock would close the cell."""
    after, before = who.send_after, who.send_before
    if after is None or before is None or who.direction != "outbound" or "time_zone" not in terms.state_schema.names:
        return before
    cut = cut_window(terms, who.time_zone, cell, (after - EPOCH) // MICRO, (before - EPOCH) // MICRO)
    return EPOCH + cut * MICRO


__all__ = ["Alone", "DecidedAlone", "ScoreFew", "cells_of", "decide_alone", "decide_few", "ranked"]
