"""Pace: no more contacts a minute than a channel can send, each inside its own window.

Earliest deadline first, which keeps every window where any order does (Jackson, 1955): at each minute those go
whose window ends first. Whoever finds no minute falls silent for lack of capacity.
"""

import heapq
from collections import deque
from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.types import INSTANT

MINUTE = timedelta(minutes=1) // timedelta(microseconds=1)


def paced(
    decisions: pa.Table, per_minute: Mapping[str, int], campaign: str | None = None
) -> tuple[pa.Table, np.ndarray]:
    """(the decisions with their minutes as send_after, (n,) bool of those who found none).

    per_minute: channel -> contacts. campaign: whose contacts they are, null: all of the channel.
    """
    late, after = np.zeros(len(decisions), bool), pc.cast(decisions.column("send_after"), pa.int64()).combine_chunks()
    moved = np.asarray(pc.fill_null(after, 0)).copy()
    ends = np.asarray(pc.fill_null(pc.cast(decisions.column("send_before"), pa.int64()), 0))
    names = decisions.column("customer_id")
    for channel in sorted(per_minute):
        mine = pc.equal(decisions.column("channel"), channel)
        if campaign is not None:
            mine = pc.and_(mine, pc.equal(decisions.column("campaign_id"), campaign))
        rows = np.flatnonzero(np.asarray(pc.fill_null(mine, False)))
        who = names.take(pa.array(rows)).to_pylist()
        waiting = sorted(zip(moved[rows].tolist(), ends[rows].tolist(), who, rows.tolist(), strict=True))
        for row, at in _minutes(waiting, per_minute[channel]):
            if at is None:
                late[row] = True
            else:
                moved[row] = at
    place = decisions.schema.get_field_index("send_after")
    column = pa.array(moved, pa.int64(), mask=np.asarray(pc.is_null(after))).cast(INSTANT)
    return decisions.set_column(place, decisions.schema.field(place), column), late


def _minutes(waiting: list[tuple[int, int, str, int]], rate: int) -> list[tuple[int, int | None]]:
    """(row, its instant in microseconds, null: none is left). waiting: (from, before, customer, row), in order."""
    coming, ready = deque(waiting), list[tuple[int, str, int, int]]()
    given: list[tuple[int, int | None]] = []
    minute, left = 0, rate
    while coming or ready:
        if not ready and coming[0][0] >= minute + MINUTE:
            minute, left = coming[0][0] - coming[0][0] % MINUTE, rate
        while coming and coming[0][0] < minute + MINUTE:
            begins, ends, customer, row = coming.popleft()
            heapq.heappush(ready, (ends, customer, row, begins))
        while ready and left:
            ends, _, row, begins = heapq.heappop(ready)
            at = max(begins, minute)
            given.append((row, at if at < ends else None))
            left -= at < ends
        minute, left = minute + MINUTE, rate
    return given
