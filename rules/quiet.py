"""Quiet hours and the customer's own clock.

One place computes local time: `clock_state`. A zone that is null or unknown gives null, and null
suppresses: an unknown zone is always quiet. Instant -> local time is total, so both DST nights
need no special case. A rule for some weekdays only ("no calls on Sunday") is quiet hours with `weekdays`.
"""

from collections import defaultdict
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from rules.catalogue import Name
from rules.column import declare
from rules.reasons import Layer
from rules.rule import Rule, Scope, Stated

DAY_MINUTES = 1440
MINUTE_MICROS = 60_000_000
UNKNOWN_MINUTE = np.iinfo(np.int64).min
EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CLOCK = (
    declare("local_minute", pa.float64(), unit="minutes after local midnight", domain="[0,1440)",
            null="zone unknown: always quiet", source="customers.time_zone and the send time",
            en="local time of sending", zh="发送时的当地时间"),
    declare("local_weekday", pa.float64(), unit="1 Monday .. 7 Sunday", domain="[1,7]", null="zone unknown",
            source="customers.time_zone and the send time", en="local weekday of sending", zh="发送日（星期）"),
    declare("is_holiday", pa.bool_(), unit="yes/no", domain="", null="zone unknown", source="calendar",
            en="a public holiday at the customer's place", zh="客户所在地公共假日"),
)  # fmt: skip


class QuietHours(Stated):
    """From `from` to `to` (local, over midnight if from > to) the channels are silent outbound.

    weekdays: only in the hours that begin on these days; none: every day. 00:00 to 24:00 is the
    whole day.
    """

    from_: Annotated[str, Field(alias="from", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    to: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
    channels: tuple[Name, ...] = Field(min_length=1)
    weekdays: tuple[Weekday, ...] = ()

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.from_ == self.to:
            raise ValueError(
                f"quiet hours `{self.id}`: from and to are both {self.to}; write 00:00 to 24:00 for all day"
            )
        return self  # fmt: skip

    @property
    def layer(self) -> Layer:
        """Quiet hours are of the contact layer."""
        return Layer.CONTACT

    def rule(self) -> Rule:
        """The contact-layer rule over local_minute, and local_weekday where weekdays are named."""
        start, end = _minute(self.from_), _minute(self.to)
        late, early = f"local_minute >= {start}", f"local_minute < {end}"
        on, next_day = self._on(0), self._on(1)
        if start > end:
            when = f"({on} AND {late}) OR ({next_day} AND {early})" if on else f"{late} OR {early}"
        else:
            needed = [on, late if start else "", early if end < DAY_MINUTES else ""]
            when = " AND ".join(part for part in needed if part) or late
        return Rule(**self.stated(), layer=self.layer, scope=Scope(channels=self.channels, direction="outbound"), when=when)  # fmt: skip

    def _on(self, later: int) -> str:
        days = sorted((WEEKDAYS.index(day) + later) % 7 + 1 for day in self.weekdays)
        return f"local_weekday IN ({', '.join(map(str, days))})" if days else ""


def clock_state(zones: pa.Array, instants: pa.Array, holidays: frozenset[date] = frozenset()) -> dict[str, pa.Array]:
    """local_day (date32), local_minute, local_weekday, is_holiday of each instant in its own zone.

    zones: IANA names, null or unknown -> all null. instants: timestamps UTC, same length. The zone
    tables are Python's own (zoneinfo), the same on every machine that has the tzdata package.
    """
    names = zones.to_pylist()
    minutes = np.asarray(instants.cast(pa.int64())) // MINUTE_MICROS
    local = np.full(len(names), UNKNOWN_MINUTE)
    places: dict[str | None, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        places[name].append(place)
    for name, rows in places.items():
        if name in _zones():
            local[rows] = _local_minutes(minutes[rows], ZoneInfo(name))
    unknown = local == UNKNOWN_MINUTE
    day = np.where(unknown, 0, local // DAY_MINUTES)
    off = np.isin(day, [(d - date(1970, 1, 1)).days for d in holidays]) if holidays else np.zeros(len(day), dtype=bool)
    return {
        "local_day": pa.array(day.astype(np.int32), pa.int32(), mask=unknown).cast(pa.date32()),
        "local_minute": pa.array((local % DAY_MINUTES).astype(np.float64), mask=unknown),
        "local_weekday": pa.array((day + EPOCH_WEEKDAY - 1) % 7 + 1.0, mask=unknown),
        "is_holiday": pa.array(off, mask=unknown),
    }


@lru_cache(maxsize=4096)
def clock_at(
    zone: str | None, minute: int, holidays: frozenset[date] = frozenset()
) -> dict[str, date | float | bool | None]:
    """What `clock_state` says of one instant, given as the minute since 1970 in UTC; not to be written to."""
    instants = pa.array([minute * MINUTE_MICROS]).cast(pa.timestamp("us", "UTC"))
    told = clock_state(pa.array([zone], pa.string()), instants, holidays)
    return {name: column[0].as_py() for name, column in told.items()}


def _local_minutes(minutes: np.ndarray, zone: ZoneInfo) -> np.ndarray:
    """Local minutes since the epoch; each distinct minute is asked once."""
    distinct, back = np.unique(minutes, return_inverse=True)
    shifts = [zone.utcoffset(datetime.fromtimestamp(int(m) * 60, UTC).astimezone(zone)) for m in distinct]
    seconds = np.array([shift.total_seconds() if shift else 0.0 for shift in shifts])
    return (distinct + np.floor(seconds / 60).astype(np.int64))[back]


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
