"""The truth of one block as tables: what no bank knows and every benchmark needs."""

import numpy as np
import pyarrow as pa

from simulation import response
from simulation.block import Block
from simulation.cast import CAST, cast_minds
from simulation.columns import customer_ids, instants, words
from simulation.months import Month
from simulation.needs import EVENT_KINDS
from simulation.value import lifetime_value_minor
from simulation.world import CHANNEL_IDS, NEEDS, OFFER_IDS, Floats

MONTH_KINDS = ("leaves", "organic")


def truth_tables(block: Block, months: tuple[Month, ...], n: int, contacts: pa.Table) -> dict[str, pa.Table]:
    """The tables below truth/ of the first `n` customers of the block."""
    return {
        "truth/customers": _customers(block, len(months), n),
        "truth/contacts": contacts,
        "truth/life_events": _life_events(block, n),
        "truth/months": _months(block, months),
    }


def _customers(block: Block, month: int, n: int) -> pa.Table:
    minds, worth = block.minds(month), lifetime_value_minor(block)
    if block.scripted.any():
        minds = cast_minds(minds)
        for member in CAST:
            worth[member.number] = member.lifetime_value_minor
    columns: dict[str, pa.Array] = {
        "customer_id": customer_ids(block.people.number),
        "active": pa.array(minds.active),
        **_spread("p_reached", CHANNEL_IDS, response.p_reached(minds)),
        **_spread("p_accept", OFFER_IDS, response.p_accept(minds)),
        **_spread("p_organic", OFFER_IDS, response.p_organic(minds)),
        **_spread("p_harm", CHANNEL_IDS, response.p_harm(minds)),
        "p_churn": pa.array(response.p_churn(minds)),
        "lifetime_value_minor": pa.array(np.where(minds.active, worth, 0.0)),
        "annoyance": pa.array(minds.annoyance), "temper": pa.array(minds.temper),
        **_spread("need", NEEDS, minds.needs),
    }  # fmt: skip
    return pa.table(columns).slice(0, n)


def _spread(prefix: str, names: tuple[str, ...], matrix: Floats) -> dict[str, pa.Array]:
    return {f"{prefix}_{name}": pa.array(matrix[:, i]) for i, name in enumerate(names)}


def _life_events(block: Block, n: int) -> pa.Table:
    who, kind, at = (np.concatenate(part) for part in zip(*block.needs.happened, strict=True))
    kept = np.flatnonzero((who < n) & ~block.scripted[who])
    order = kept[np.lexsort((at[kept], who[kept]))]
    return pa.table({
        "customer_id": customer_ids(block.people.number[who[order]]),
        "kind": words(EVENT_KINDS, kind[order]),
        "at": instants(at[order]),
    })  # fmt: skip


def _months(block: Block, months: tuple[Month, ...]) -> pa.Table:
    # One row of leaving and one of unasked take-up per month, over the whole block.
    return pa.table({
        "month": pa.array([month.label for month in months for _ in MONTH_KINDS]),
        "kind": pa.array([MONTH_KINDS[int(row["kind"])] for row in block.expected]),
        "expected": pa.array([row["expected"] for row in block.expected]),
        "realised": pa.array([row["realised"] for row in block.expected]),
    })  # fmt: skip
