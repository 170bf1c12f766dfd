"""No minute has more than its rate, nobody leaves his window, and nobody is dropped who could have had a minute."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import linear_sum_assignment

from rules.types import INSTANT
from serving.lists.pacing import paced

NOON = datetime(2026, 6, 1, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def table(windows: list[tuple[int, int]], channel: str = "sms") -> pa.Table:
    """Decisions with windows in minutes after noon; the last customer is silent."""
    n = len(windows)
    after = [NOON + begin * MINUTE for begin, _ in windows]
    before = [NOON + end * MINUTE for _, end in windows]
    return pa.table({"customer_id": [f"C{k:03d}" for k in range(n)] + ["S"], "channel": [channel] * n + [None],
                     "send_after": pa.array([*after, None], INSTANT), "send_before": pa.array([*before, None], INSTANT)})  # fmt: skip


def most(windows: list[tuple[int, int]], rate: int) -> int:
    """How many can have a minute: a matching of contacts and places, exact."""
    slots = [minute for minute in range(max(end for _, end in windows)) for _ in range(rate)]
    fits = np.array([[begin <= minute < end for minute in slots] for begin, end in windows])
    rows, columns = linear_sum_assignment(-fits.astype(int))
    return int(fits[rows, columns].sum())


@pytest.mark.parametrize("seed", range(25))
def test_as_many_go_as_can_each_inside_its_window(seed: int) -> None:
    rng = random.Random(seed)
    rate = rng.randint(1, 3)
    windows = [(begin, begin + rng.randint(1, 8)) for begin in (rng.randint(0, 12) for _ in range(rng.randint(1, 30)))]
    told, late = paced(table(windows), {"sms": rate})
    sent = [row for row, gone in zip(told.to_pylist(), late.tolist(), strict=True) if not gone and row["channel"]]
    assert len(sent) == most(windows, rate)
    before = {row["customer_id"]: row for row in table(windows).to_pylist()}
    assert all(before[r["customer_id"]]["send_after"] <= r["send_after"] < r["send_before"] for r in sent)
    assert max(Counter(row["send_after"].replace(second=0, microsecond=0) for row in sent).values(), default=0) <= rate
    order = list(range(len(told)))
    rng.shuffle(order)
    again, gone = paced(table(windows).take(order), {"sms": rate})  # shuffled rows: the same minutes
    assert again.equals(told.take(order)) and gone.tolist() == late[order].tolist()


def test_other_channels_and_the_silent_are_left_as_they_are() -> None:
    calls = table([(0, 1)] * 5, "call")
    told, late = paced(calls, {"sms": 1})
    assert told.equals(calls) and not late.any()
    told, late = paced(table([(0, 1)] * 5), {})
    assert told.equals(table([(0, 1)] * 5)) and not late.any()
    assert paced(table([(0, 1)] * 5), {"sms": 1})[1].sum() == 4
