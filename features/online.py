"""One customer's base row brought up to now, in plain Python: the hot path of a decision.

Says the same as `features/overlay.py`, which does it for many at once; a test ties the two. Numbers
are floats and NaN is null, so that a sum over an unknown stays unknown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from features.base import Base, OneRow, Row
from features.carried import reach_of
from features.drops import cut_days
from features.expiries import ENDING
from features.heard import ConsentRow, EventRow, place_of_word
from features.measures import HALF, LASTS, MEAN_DAYS, windows
from features.money import minor_digits
from features.settings import Settings
from features.shares import SHARE_DAYS
from features.source import Source
from features.tables import MARKETING_CHANNELS, MOST_MINOR
from features.windows import DAY_MICROS, DAYS_A_MICRO, local_day, tail_of

QUARTER = 900_000_000  # zones change their clocks, and days begin, on quarters of an hour
_NAN = math.nan


@dataclass(frozen=True)
class _Cuts:
    """Where windows begin at an instant: per window its first day, its tail."""

    day: date
    first_days: list[int]
    tails: list[int]
    oldest: int


class Online:
    """Rolls single rows of one schema. Reads nothing: rows and what was heard are given to it."""

    def __init__(self, one_row: OneRow, source: Source) -> None:
        self._settings: Settings = source.settings
        self._source = source
        self.numbers = [*one_row.numbers, HALF]
        self._at = {name: place for place, name in enumerate(self.numbers)}
        self._ages = [p for n, p in self._at.items() if n.startswith("days_since_")]
        self._windows = windows(self._settings.currencies)
        self._places = [self._at[w.name] for w in self._windows]
        self._means = [
            tuple(self._at[f"purchase_{what}_{days}d"] for what in ("sum", "count", "mean")) for days in MEAN_DAYS
        ]
        self._balances = [self._places_of(currency) for currency in self._settings.currencies]
        self._texts = {name: place for place, name in enumerate(one_row.texts)}
        self._consents = [
            (channel, self._texts[name], self._at[f"{name}_age_days"])
            for channel in MARKETING_CHANNELS
            if (name := f"consent_marketing_{channel}")
        ]
        self._cuts = lru_cache(maxsize=64)(self._cuts_of)
        self.reach = lru_cache(maxsize=8)(lambda since: reach_of(since, self._settings))
        self._adds = lru_cache(maxsize=1024)(self._adds_of)

    def _places_of(self, currency: str) -> tuple[str, int, list[tuple[int, int]]]:
        """A currency, the place of its balance, and those of its outflows with the shares made of them."""
        at, c = self._at, currency.lower()
        shares = [(at[f"outflow_{c}_sum_{days}d"], at[f"outflow_share_{c}_{days}d"]) for days in SHARE_DAYS]
        return currency, at[f"balance_{c}_minor"], shares

    def roll(self, row: Row, place: int, base: Base, since: int, moment: int,
             events: Sequence[EventRow], consents: Sequence[ConsentRow]) -> None:  # fmt: skip
        """Bring the row up to the moment, in place.

        Args:
            row: Numbers in the order of `numbers`.
            place: Its place in the base, for what it carries.
            base: The snapshot.
            since: Instant of the base, microseconds as all here.
            moment: The present.
            events: What the ledger heard of the customer, as `read_heard` gives it.
            consents: His words on marketing.
        """
        v, cuts = row.numbers, self._cuts(moment // QUARTER)
        last_booked = since - _rounded(v[self._at["days_since_last_transaction"]])
        for at in self._ages:
            if v[at] == v[at]:
                v[at] = (moment - since + round(v[at] * DAY_MICROS)) * DAYS_A_MICRO
        for number, day, amount in base.drops(place):
            if day < cuts.first_days[number]:
                v[self._places[number]] -= amount
        if cuts.oldest >= since:
            for number, tail in enumerate(cuts.tails):
                if tail >= since:
                    v[self._places[number]] = 0.0
        new = self._new(events, place, base, since) if events else []
        if new:
            self._book(v, new, moment, cuts)
            shared = base.shared(place)
            for bit, (currency, at, _) in enumerate(self._balances):
                if moved := [e for e in new if e[4] == currency]:
                    self._balance(v, at, moved, last_booked, shared >> bit & 1)
        self._derive(v, cuts.day)
        for ending, ends_at in base.expiries(place):
            if ends_at <= moment:
                row.texts[self._texts[ENDING[ending]]] = "none"
        self._speak(row, consents, since, moment)

    def _cuts_of(self, quarter: int) -> _Cuts:
        at = quarter * QUARTER
        first = cut_days(at, self._settings)
        tails = {days: tail_of(at, days, self._settings.tz) for days in first}
        return _Cuts(local_day(at, self._settings.tz), [first[w.days] for w in self._windows], [tails[w.days] for w in self._windows],
                     max(tails.values()))  # fmt: skip

    def _new(self, events: Sequence[EventRow], place: int, base: Base, since: int) -> list[EventRow]:
        """Events about money that the base has not counted, oldest first."""
        reach, new, old = self.reach(since), list[EventRow](), list[EventRow]()
        for event in events:
            if event[3] is not None:
                (old if event[6] < since and event[7] <= since else new).append(event)
        old = [event for event in old if event[6] >= reach]
        if old:
            counted = base.counted(place)
            new += [event for event in old if event[0] not in counted]
        return sorted(new, key=lambda e: (e[6], e[7], e[0]))

    def _adds_of(self, kind: str, currency: str) -> list[tuple[int, int, int]]:
        """What a booking of that kind and currency adds to: (window, place, 0 count | 1 own | 2 base)."""
        found: list[tuple[int, int, int]] = []
        for number, window in enumerate(self._windows):
            of_kind = kind in window.measure.kinds or not window.measure.kinds
            if of_kind and window.currency in (None, currency):
                how = 0 if window.measure.op == "count" else 1 if window.currency else 2
                found.append((number, self._places[number], how))
            elif window.needs_rate:
                found.append((number, self._places[number], 3))
        return found

    def _book(self, v: list[float], new: Sequence[EventRow], moment: int, cuts: _Cuts) -> None:
        for _, _, kind, of_amount, of_currency, _, booked, _ in new:
            amount, currency = of_amount or 0, of_currency or ""
            worth = self.in_base(amount, currency, local_day(booked, self._settings.tz))
            for number, place, how in self._adds(kind, currency):
                if booked >= cuts.tails[number]:
                    sign = self._windows[number].measure.sign
                    # 3: adds nothing, but a booking without a rate makes the sum unknown.
                    v[place] += (
                        1 if how == 0 else amount * sign if how == 1 else worth * sign if how == 2 else worth * 0.0
                    )
            for name in LASTS:
                if name in ("transaction", kind):
                    at = self._at[f"days_since_last_{name}"]
                    v[at] = _least(v[at], (moment - booked) * DAYS_A_MICRO)

    @staticmethod
    def _balance(v: list[float], at: int, rows: Sequence[EventRow], last_booked: float, shared: int) -> None:
        """The rules of `features.overlay._balance`."""
        if shared:
            v[at] += sum(e[3] or 0 for e in rows if not e[6] < last_booked or (e[3] or 0) < 0)
            return
        stated = [e for e in rows if e[5] is not None]
        newer = [e for e in stated if not e[6] < last_booked]
        doubtful = [e for e in stated if e[6] < last_booked]
        since = newer[-1][6] if newer else -(1 << 62)
        start = float(newer[-1][5] or 0) if newer else _least(v[at], float(doubtful[-1][5] or 0) if doubtful else _NAN)
        v[at] = start + sum(e[3] or 0 for e in rows if e[5] is None and e[6] > since)

    def _derive(self, v: list[float], day: date) -> None:
        at, total, base = self._at, 0.0, self._settings.currency
        for currency, place, shares in self._balances:
            balance = v[place]
            total += balance if currency == base else self.in_base(balance, currency, day) if balance else 0.0
            stays = balance if balance > 0 else balance * 0.0
            for outflow, share in shares:
                out = max(v[outflow], 0.0)
                v[share] = out / (stays + out) if stays + out != 0 else 0.0
        v[at["balance_total_minor"]] = total
        for spends, counts, mean in self._means:
            v[mean] = v[spends] / v[counts] if v[counts] else _NAN
        spent = v[at["purchase_sum_90d"]]
        v[at["purchase_trend_90d"]] = v[at[HALF]] / spent if spent else _NAN
        bookings = v[at["transaction_count_90d"]]
        v[at["transaction_trend_90d"]] = v[at["transaction_count_30d"]] / bookings if bookings else _NAN

    def in_base(self, amount: float, currency: str, day: date) -> float:
        """What an amount is worth in base minor units at the rate of the day; NaN where `Rates.to_base` has null."""
        if currency == self._settings.currency:
            return float(amount)
        if (rate := self._source.rates.on(currency, day)) is None:
            return _NAN
        scale = 10.0 ** (minor_digits(self._settings.currency) - minor_digits(currency))
        worth = amount * scale / rate + 0.5
        if worth != worth:  # noqa: PLR0124
            return _NAN
        whole = float(math.floor(worth))
        return whole if abs(whole) <= MOST_MINOR else _NAN

    def _speak(self, row: Row, consents: Sequence[ConsentRow], since: int, moment: int) -> None:
        """Per channel the later of the base's word and the ledger's; ages as of the moment."""
        words = sorted(consents, key=lambda c: place_of_word(c[4], c[5], c[2], c[3])) if consents else ()
        for channel, text, at in self._consents:
            age = row.numbers[at]
            known = age == age  # noqa: PLR0124
            said_at = since - round(age * DAY_MICROS) if known else 0
            last = next((w for w in reversed(words) if w[2] in ("all", channel)), None) if words else None
            if last is not None and (not known or last[4] >= said_at):
                row.texts[text], said_at, known = last[3], last[4], True
            row.numbers[at] = (moment - said_at) * DAYS_A_MICRO if known else _NAN


def _rounded(age: float) -> float:
    return round(age * DAY_MICROS) if age == age else math.inf  # noqa: PLR0124


def _least(one: float, other: float) -> float:
    return other if one != one else one if other != other else min(one, other)  # noqa: PLR0124
