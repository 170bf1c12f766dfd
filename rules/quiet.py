"""Quiet hours and the customer's own clock.

One place computes local time: `clock_state`. A zone that is null or unknown gives null, and null
suppresses: an unknown zone is always quiet. Instant -> local time is total, so both DST nights
need no special case.
"""

from datetime import date
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from rules.catalogue import Name
from rules.column import declare
from rules.reasons import Layer
from rules.rule import Rule, Scope, Stated

DAY_MINUTES = 1440
CLOCK = (
    declare("local_minute", pa.float64(), unit="minutes after local midnight", domain="[0,1440)",
            null="zone unknown: always quiet", source="customers.time_zone and the send time",
            en="local time of sending", zh="发送时的当地时间"),
    declare("local_weekday", pa.float64(), unit="1 Monday .. 7 Sunday", domain="[1,7]", null="zone unknown",
            source="customers.time_zone and the send time", en="local weekday of sending", zh="发送日（星期）"),
    declare("is_holiday", pa.bool_(), unit="", domain="", null="zone unknown", source="calendar",
            en="a public holiday at the customer's place", zh="客户所在地公共假日"),
)  # fmt: skip


class QuietHours(Stated):
    """From `from` to `to` (local, over midnight if from > to) the channels are silent outbound."""

    from_: Annotated[str, Field(alias="from", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    to: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    channels: tuple[Name, ...] = Field(min_length=1)

    def rule(self) -> Rule:
        """The contact-layer rule over local_minute."""
        start, end = _minute(self.from_), _minute(self.to)
        joint = "OR" if start > end else "AND"
        return Rule(**self.stated(), layer=Layer.CONTACT, scope=Scope(channels=self.channels, direction="outbound"),
                    when=f"local_minute >= {start} {joint} local_minute < {end}")  # fmt: skip

    def minutes_until(self, local_minute: float) -> float:
        """Minutes from an open local minute to the start of the quiet hours."""
        return (_minute(self.from_) - local_minute) % DAY_MINUTES or DAY_MINUTES


def clock_state(zones: pa.Array, instants: pa.Array, holidays: frozenset[date] = frozenset()) -> dict[str, pa.Array]:
    """local_day (date32), local_minute, local_weekday, is_holiday of each instant in its own zone.

    zones: IANA names, null or unknown -> all null. instants: timestamps UTC, same length.
    """
    zones = zones.combine_chunks() if isinstance(zones, pa.ChunkedArray) else zones
    n = len(zones)
    minute, weekday = np.full(n, np.nan), np.full(n, np.nan)
    day = np.full(n, np.iinfo(np.int32).min, dtype=np.int32)
    encoded = pc.dictionary_encode(zones)
    codes = np.asarray(pc.fill_null(encoded.indices, -1))
    for code, zone in enumerate(encoded.dictionary.to_pylist()):
        if zone not in _zones():
            continue
        rows = np.flatnonzero(codes == code)
        local = pc.cast(pc.take(instants, pa.array(rows)), pa.timestamp("us", zone))
        minute[rows] = np.asarray(pc.hour(local)) * 60.0 + np.asarray(pc.minute(local))
        weekday[rows] = np.asarray(pc.day_of_week(local)) + 1.0
        day[rows] = np.asarray(pc.cast(pc.cast(pc.local_timestamp(local), pa.date32()), pa.int32()))
    unknown = np.isnan(minute)
    off = np.isin(day, [(d - date(1970, 1, 1)).days for d in holidays]) if holidays else np.zeros(n, dtype=bool)
    return {"local_day": pa.array(day, pa.int32(), mask=unknown).cast(pa.date32()),
            "local_minute": pa.array(minute, mask=unknown), "local_weekday": pa.array(weekday, mask=unknown),
            "is_holiday": pa.array(off, mask=unknown)}  # fmt: skip


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])



@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
