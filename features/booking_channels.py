"""Bookings by channel: how many, their share, and the money going out; of the channels that bank.yaml names."""

import re
from collections.abc import Collection, Mapping

import numpy as np
import polars as pl

from features.cut_bookings import CutBookings, counts, known, nullable, sums
from features.settings import Settings
from features.tables import OUTFLOW_KINDS, TRANSACTION_KINDS
from features.view import Feature

SPENDING_KINDS = (*OUTFLOW_KINDS, "purchase", "fee", "loan_payment")
_SPENDING = np.array([kind in SPENDING_KINDS for kind in TRANSACTION_KINDS])
_TABLE = "transactions"


def declare_channels(settings: Settings, short: int, long: int) -> list[Feature]:
    """The declared features of each channel in `booking_channels`; short, long: days of their windows."""
    told: list[Feature] = []
    for name in settings.booking_channels:
        told += [Feature(f"bookings_{name}_count_{d}d", "number", "bookings", "never", _TABLE, f"bookings on {name}, {d} days",
                         f"{d}天{name}交易笔数") for d in (short, long)]  # fmt: skip
        told.append(Feature(f"outgoing_{name}_sum_{long}d", "number", f"{settings.currency} minor", "a rate is missing", _TABLE,
                            f"money going out on {name}, {long} days, less what was reversed", f"{long}天{name}支出"))  # fmt: skip
        told.append(Feature(f"bookings_{name}_share_{long}d", "number", "share", f"no booking in {long} days", _TABLE,
                            f"share of {long} days' bookings made on {name}", f"{long}天{name}交易占比"))  # fmt: skip
    return told


def plain_name(channel: str) -> str:
    """A channel as `booking_channels` names it: `Point of Sale` is point_of_sale."""
    return re.sub(r"[^a-z0-9]+", "_", channel.lower()).strip("_")


def by_channel(
    codes: Mapping[str, Collection[int]], windows: Mapping[int, CutBookings], n: int
) -> dict[str, pl.Series]:
    """The declared columns, (n,).

    Args:
        codes: Channel -> the numbers of what the bookings call it.
        windows: Days of a window -> the bookings in it; two.
        n: How many cuts there are.
    """
    long = max(windows)
    every, found = np.bincount(windows[long].cut, minlength=n), dict[str, pl.Series]()
    for name, code in codes.items():
        on = {days: inside.where(np.isin(inside.channel, list(code))) for days, inside in windows.items()}
        found |= {f"bookings_{name}_count_{days}d": counts(there.cut, n) for days, there in on.items()}
        spent = on[long].where(_SPENDING[on[long].kind])
        outgoing = sums(spent.cut, -spent.worth, n)
        found[f"outgoing_{name}_sum_{long}d"] = nullable(outgoing)
        share = np.bincount(on[long].cut, minlength=n) / np.maximum(every, 1)
        found[f"bookings_{name}_share_{long}d"] = known(share, windows[long].cut, n)
    return found
