"""Complaints, hardship and other files, and what managers wrote down."""

from typing import Final

import numpy as np
import pyarrow as pa

from simulation.columns import customer_ids, days, ids, instants, rank_within, table_of, words
from simulation.people import People
from simulation.world import DAY_US, Ints

CASE_KINDS: Final = ("complaint", "hardship", "fraud", "bereavement", "other")
COMPLAINT, HARDSHIP, FRAUD, BEREAVEMENT, OTHER = range(len(CASE_KINDS))
# Rate of files that have nothing to do with contacts, per customer and month.
_OWN_RATES: Final = ((COMPLAINT, 0.0012), (FRAUD, 0.0002), (OTHER, 0.001))


def draw_own_cases(rng: np.random.Generator, who: Ints, start_us: int) -> list[tuple[Ints, Ints, Ints, Ints]]:
    """Files of the month of `who` that no contact caused: (who, kind, opened, closed) columns."""
    drawn: list[tuple[Ints, Ints, Ints, Ints]] = []
    for kind, rate in _OWN_RATES:
        chosen = who[rng.random(len(who)) < rate]
        opened = start_us + rng.integers(0, 28 * DAY_US, len(chosen))
        closed = opened + rng.integers(2, 45, len(chosen)) * DAY_US
        drawn.append((chosen, np.full(len(chosen), kind), opened, closed))
    return drawn


def cases_table(
    rows: list[tuple[Ints, Ints, Ints, Ints]], people: People, keep: tuple[int, int], until_us: int
) -> pa.Table:
    """The cases of the customers keep[0] .. keep[1] - 1 of the block, as known at `until_us`."""
    who, kind, opened, closed = (np.concatenate(part) for part in zip(*rows, strict=True))
    kept = np.flatnonzero((who >= keep[0]) & (who < keep[1]) & (opened < until_us))
    order = kept[np.lexsort((opened[kept], who[kept]))]
    who, kind, opened, closed = who[order], kind[order], opened[order], closed[order]
    number = people.number[who]
    return table_of("cases", {
        "case_id": ids("Z", (number + 1, 7), (rank_within(who), 3)),
        "customer_id": customer_ids(number),
        "kind": words(CASE_KINDS, kind),
        "opened_at": instants(opened),
        "closed_at": instants(closed, closed >= until_us),
    })  # fmt: skip


def notes_table(rng: np.random.Generator, people: People, keep: tuple[int, int], since_us: int) -> pa.Table:
    """Managers' notes, and the flag `legacy_control` of those the old CRM never marketed to."""
    n = len(people)
    prefers = np.flatnonzero(rng.random(n) < 0.03)
    control = np.flatnonzero(people.in_control)
    who = np.concatenate([control, prefers])
    flag = np.repeat(np.array([0, 1]), [len(control), len(prefers)])
    at = np.where(flag == 0, since_us, since_us + rng.integers(0, 300 * DAY_US, len(who)))
    kept = np.flatnonzero((who >= keep[0]) & (who < keep[1]))
    order = kept[np.lexsort((flag[kept], who[kept]))]
    who, flag, at = who[order], flag[order], at[order]
    return table_of("notes", {
        "customer_id": customer_ids(people.number[who]),
        "flag": words(("legacy_control", "prefers_branch"), flag),
        "at": instants(at),
        "until": days(at // DAY_US + 180, flag == 0),
    })  # fmt: skip
