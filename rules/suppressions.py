"""Event suppressions: what the customer does with his money silences offers, at once and for a while.

The event is an outflow (cash, transfer or FX sale) of one currency, cumulative over days: three
withdrawals of 30 % count like one of 90 %. It opens a suppression of some families in that currency
which ends after `lasts_days`, or earlier when enough money comes back. An outflow that again fulfils
the event while it is open renews it; contacts the customer ignored before the event lengthen it. The stretches themselves are
a fold of money movements alone and stand in the ledger; the lengthening is computed in the state
column, from the contacts and answers known at the time of reading - so a late answer is heard, and
the fold stays the same in whatever order events and outcomes arrive.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Self

import pyarrow as pa
from pydantic import Field, model_validator

from rules.catalogue import Catalogue, Frozen, Name
from rules.column import declare
from rules.cooloffs import LOOK_BACK_DAYS
from rules.facts import DAY_MICROS
from rules.reasons import Layer
from rules.rule import Rule, Scope, Stated


@dataclass(frozen=True)
class Movement:
    """One booking in one currency. Instants in micros; balance_minor: of all accounts in it, after."""

    booked_at: int
    recorded_at: int  # when the source knew
    movement_id: str
    outflow_minor: int  # > 0: money left as cash, transfer or FX sale
    inflow_minor: int  # > 0: money came in
    balance_minor: int

    @property
    def place(self) -> tuple[int, int, bool, str]:
        """Where it stands among the others: of one booking instant as recorded, and of one record what left last.

        Doubt suppresses: nothing that came in at the instant of an outflow ends what that outflow opens.
        """
        return self.booked_at, self.recorded_at, self.outflow_minor > 0, self.movement_id


@dataclass(frozen=True)
class Opening:
    """One stretch of suppression: [opened_at, min(ends_at, closed_at)); closed_at null: not ended early."""

    opened_at: int
    ends_at: int
    closed_at: int | None
    cause: str  # movement_id of the movement that opened it
    outflow_minor: int  # what had left by then, and since: the measure of an early end


class Outflow(Frozen):
    """The event: at least `share` of the money, and at least `least_minor`, left within `days`."""

    days: Annotated[int, Field(ge=1, le=90)]
    share: Annotated[float, Field(gt=0, le=1)]
    least_minor: Annotated[int, Field(ge=0)] = 0

    def happened(self, outflow_minor: int, balance_minor: int) -> bool:
        """Share = outflow / (what is left, not below 0, + outflow): in [0, 1], also for refilled accounts."""
        money = max(balance_minor, 0) + outflow_minor
        return outflow_minor >= max(self.least_minor, 1) and outflow_minor >= self.share * money


class Inflow(Frozen):
    """The early end: at least `share` of the money gone has come back since the opening.

    Gone: what the event counted at the opening, and every outflow since. Back: every inflow since.
    """

    share: Annotated[float, Field(gt=0, le=1)]

    def happened(self, back_minor: int, gone_minor: int) -> bool:
        """Whether enough of it is back."""
        return back_minor >= self.share * gone_minor


class Lengthened(Frozen):
    """Every `ignored` contacts about the families lengthen the suppression by `by_days`.

    Counted: contacts sent in the within_days before the opening, ignored for after_days.
    """

    ignored: Annotated[int, Field(ge=1, le=50)] = 1
    by_days: Annotated[int, Field(ge=1, le=365)]
    at_most_days: Annotated[int, Field(ge=1, le=365)]
    within_days: Annotated[int, Field(ge=1, le=365)] = 30
    after_days: Annotated[int, Field(ge=1, le=90)] = 7

    def days(self, n_ignored: int) -> int:
        """min(at_most_days, floor(n_ignored / ignored) x by_days)."""
        return min(self.at_most_days, n_ignored // self.ignored * self.by_days)


class EventSuppression(Stated):
    """After `event` in a currency, no offer of `families` in that currency, in any channel or direction."""

    event: Outflow
    families: tuple[Name, ...] = Field(min_length=1)
    currencies: tuple[Annotated[str, Field(pattern=r"^[A-Z]{3}$")], ...] = Field(min_length=1)
    lasts_days: Annotated[int, Field(ge=1, le=730)]
    exit: Inflow | None = None
    lengthened: Lengthened | None = None

    @model_validator(mode="after")
    def _ends(self) -> Self:
        longer = self.lengthened
        back = self.lasts_days + (longer.at_most_days + longer.within_days + longer.after_days if longer else 0)
        if back > LOOK_BACK_DAYS:
            raise ValueError(
                f"suppression `{self.id}`: looks {back} days back, `lengthened` included; the ledger is read for {LOOK_BACK_DAYS}"
            )
        if longer and longer.after_days > self.lasts_days:
            raise ValueError(
                f"suppression `{self.id}`: after_days is more than lasts_days; it would open anew once over"
            )
        return self  # fmt: skip

    @property
    def layer(self) -> Layer:
        """Event suppressions are of the suppression layer."""
        return Layer.SUPPRESSION

    @property
    def tail_days(self) -> int:
        """The most that ignored contacts can add to lasts_days."""
        return self.lengthened.at_most_days if self.lengthened else 0

    @property
    def reach_days(self) -> int:
        """How far back a movement may matter."""
        return self.event.days + self.lasts_days + self.tail_days

    def column(self, currency: str) -> str:
        """The computed column name for one currency."""
        return f"suppressed_{self.id}_{currency.lower()}_days_left"

    def rule(self, catalogue: Catalogue) -> Rule | None:
        """The rule over the column of the offer's own currency; None where no offer is concerned."""
        offers = tuple(o.id for o in catalogue.offers if o.family in self.families and o.currency in self.currencies)
        if not offers:
            return None
        return Rule(**self.stated(), layer=self.layer, scope=Scope(offers=offers),
                    when=f"{self.column('this_currency')} > 0")  # fmt: skip

    def fields(self) -> list[pa.Field]:
        """The declared state columns, one per currency."""
        return [declare(self.column(currency), pa.float64(), unit="days", domain="[0,)", null="ledger not read", source="ledger suppressions",
                        en=f"days left of the pause after a large {currency} outflow", zh=f"大额{currency}流出后的静默剩余天数")
                for currency in self.currencies]  # fmt: skip

    def openings(self, movements: Iterable[Movement], before: Sequence[Opening] = ()) -> list[Opening]:
        """All stretches caused by the movements, oldest first; the last may still be open.

        movements: one customer, one currency, any order. before: stretches known already (the last
        may be open). An outflow that again fulfils the event while a stretch is open moves its end.
        Of a stretch known before nobody can say which of the movements its outflow_minor counts: all
        that leaves is added to it, so it holds rather too long than too short.
        """
        done = list(before)
        gone, came = [opening.outflow_minor for opening in done], [0] * len(done)
        window, lasts, tail = (days * DAY_MICROS for days in (self.event.days, self.lasts_days, self.tail_days))
        outflows: list[Movement] = []
        for movement in sorted(set(movements), key=lambda m: m.place):
            now = movement.booked_at
            last = done[-1] if done and done[-1].closed_at is None else None
            # An earlier one may still hold by its lengthening: each has its own money to wait for.
            holding = [n for n, o in enumerate(done) if o.closed_at is None and o.opened_at <= now < o.ends_at + tail]
            if movement.outflow_minor > 0:
                outflows = [m for m in outflows if m.booked_at > now - window] + [movement]
                left = sum(m.outflow_minor for m in outflows)
                for n in holding:
                    gone[n] += movement.outflow_minor
                if self.event.happened(left, movement.balance_minor):
                    if last and now < last.ends_at:
                        done[-1] = replace(last, ends_at=now + lasts)
                    else:
                        done.append(Opening(now, now + lasts, None, movement.movement_id, left))
                        gone.append(left)
                        came.append(0)
            elif movement.inflow_minor > 0:
                for n in holding:
                    came[n] += movement.inflow_minor
                    if self.exit and self.exit.happened(came[n], gone[n]):
                        done[n] = replace(done[n], closed_at=now)
                        if n == len(done) - 1:  # what had left is settled: the event counts anew
                            outflows = []
        return [o if n < len(before) else replace(o, outflow_minor=gone[n]) for n, o in enumerate(done)]


def days_left(openings: Iterable[tuple[int, int, int | None]], at: int) -> float:
    """Days until the last open stretch (opened_at, ends_at, closed_at) ends; 0 where none is open at `at`."""
    ends = [ends_at for opened_at, ends_at, closed_at in openings
            if opened_at <= at < (ends_at if closed_at is None else min(ends_at, closed_at))]  # fmt: skip
    return (max(ends) - at) / DAY_MICROS if ends else 0.0
