"""The send window: until when a contact may go out before the clock would close its cell.

Quiet hours of some weekdays, holidays, both nights on which clocks change: none has a case of its own
here. Each condition of the compiled policy that reads the clock is asked minute by minute of the
customer's own time; the window ends with the first minute in which one closes that was open before.
Other columns count as unknown there: a condition that reads them too may end a window early, never late.
"""

from datetime import date
from functools import lru_cache

import numpy as np
import pyarrow as pa

from rules.closures import closure
from rules.quiet import DAY_MINUTES, MINUTE_MICROS, clock_state
from rules.terms import Terms
from rules.tree import Node, columns_of
from rules.types import INSTANT


def cut_windows(terms: Terms, zones: pa.Array, cell: np.ndarray, after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(n,) int64 micros: before, or the earlier minute in which the clock closes the outbound cell.

    zones: IANA names. cell, after, before: (n,) int64, a contact's cell and send window in micros. A zone
    that is null or unknown cuts nothing: where the clock matters, the policy has closed the cell.
    """
    found = before.copy()
    kinds = np.array([terms.program.clock_kind[each] for each in range(terms.program.n_cells)], np.int64)[cell]
    rows = np.flatnonzero(kinds >= 0)
    if not len(rows):
        return found
    zone = zones.take(pa.array(rows))
    codes = np.zeros(len(rows), np.int64)
    for column in (zone, pa.array(kinds[rows]), pa.array(after[rows]), pa.array(before[rows])):
        encoded = column.dictionary_encode(null_encoding="encode")
        codes = codes * len(encoded.dictionary) + np.asarray(encoded.indices, dtype=np.int64)
        codes = np.asarray(pa.array(codes).dictionary_encode().indices, dtype=np.int64)  # small again
    first = np.zeros(codes.max() + 1, np.int64)
    first[codes[::-1]] = np.arange(len(rows))[::-1]
    ends = np.array([_ends(terms, zone[place].as_py(), int(kinds[row]), int(after[row]), int(before[row]))
                     for place, row in zip(first.tolist(), rows[first].tolist(), strict=True)], np.int64)  # fmt: skip
    found[rows] = ends[codes]
    return found


def cut_window(terms: Terms, zone: str | None, cell: int, after: int, before: int) -> int:
    """What `cut_windows` says of one contact."""
    kind = terms.program.clock_kind[cell]
    return before if kind < 0 else _ends(terms, zone, kind, after, before)


def _ends(terms: Terms, zone: str | None, kind: int, after: int, before: int) -> int:
    if zone is None:
        return before
    start = after // MINUTE_MICROS
    for day in range(start // DAY_MINUTES, before // MINUTE_MICROS // DAY_MINUTES + 1):
        for minute in _edges(zone, day, terms.program.clock[kind], terms.holidays):
            if minute > start:
                return min(before, minute * MINUTE_MICROS)
    return before


@lru_cache(maxsize=4096)
def _edges(zone: str, day: int, conditions: tuple[Node, ...], holidays: frozenset[date]) -> tuple[int, ...]:
    """The minutes (since 1970, UTC) of a UTC day in which one of the conditions closes anew, ascending."""
    minutes = np.arange(day * DAY_MINUTES - 1, (day + 1) * DAY_MINUTES)
    instants = pa.array(minutes * MINUTE_MICROS).cast(INSTANT)
    clock = clock_state(pa.repeat(pa.scalar(zone), len(minutes)), instants, holidays)
    told = {name: column.to_pylist() for name, column in clock.items()}
    found: set[int] = set()
    for condition in conditions:
        asked = closure(condition)
        unknown = dict.fromkeys(columns_of(condition))
        states = [asked({**unknown, **dict(zip(told, values, strict=True))}) is not False
                  for values in zip(*told.values(), strict=True)]  # fmt: skip
        closed = np.array(states, dtype=bool)
        found |= set(minutes[1:][closed[1:] & ~closed[:-1]].tolist())
    return tuple(sorted(found))


__all__ = ["cut_window", "cut_windows"]
