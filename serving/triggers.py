"""Triggers: what happens on an account may cause a contact - salary in, a large inflow, a maturity near.

A trigger asks for a decision and does no more: the same layers, caps, quiet hours and values say whether anything is
said, and what. It is asked in the transaction that stores the event; a maturity, which nobody reports, is asked for by
`nbo triggers run`. HOME/triggers.yaml holds them; without the file nothing is caused. docs/triggers.md shows one.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from features.home import Home
from features.tables import INFLOW_KINDS, MARKETING_CHANNELS
from rules.catalogue import Frozen, Name, Words
from rules.document import did_you_mean, read_document
from rules.errors import PolicyError

FILE = "triggers.yaml"


class Trigger(Frozen):
    """One trigger: money of these kinds, at least so much of one currency; or a maturity at most so many days away.

    within_days: how old a booking may be when it is told and still set it off, in days of 24 hours; an older one is
        history, and acts on features and suppressions alone.
    channels: on which it may be answered; empty: all.
    """

    id: Name
    title: Words
    kinds: tuple[Name, ...] = ()
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    least_minor: Annotated[int, Field(ge=1, le=10**15)] | None = None
    within_days: Annotated[int, Field(ge=1, le=365)] = 2  # yesterday's bookings come with last night's run
    maturity_within_days: Annotated[int, Field(ge=0, le=365)] | None = None
    channels: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if bool(self.kinds) == (self.maturity_within_days is not None):
            raise ValueError(f"trigger `{self.id}`: needs `kinds` or `maturity_within_days`, one of the two")
        if self.kinds and (self.currency is None or self.least_minor is None):
            raise ValueError(f"trigger `{self.id}`: `kinds` needs `currency` and `least_minor`; add both")
        if not self.kinds and "within_days" in self.model_fields_set:
            raise ValueError(
                f"trigger `{self.id}`: `within_days` goes with `kinds`; a maturity has `maturity_within_days`"
            )
        for names, known in ((self.kinds, INFLOW_KINDS), (self.channels, MARKETING_CHANNELS)):
            for name in names:
                if name not in known:
                    raise ValueError(f"trigger `{self.id}`: unknown `{name}`{did_you_mean(name, known)}")
        return self

    def is_met_by(self, kind: str, amount_minor: int | None, currency: str | None, age: timedelta) -> bool:
        """Whether that movement of money sets it off. age: from its booking to now."""
        if kind not in self.kinds or age > timedelta(days=self.within_days):
            return False
        return currency == self.currency and (amount_minor or 0) >= (self.least_minor or 0)


class Triggers(Frozen):
    """The file."""

    triggers: tuple[Trigger, ...] = Field(min_length=1)


def load_triggers(home: Home) -> tuple[Trigger, ...]:
    """The triggers of a home, none where it has no file; PolicyError with file, line and remedy."""
    path: Path = home.path / FILE
    if not path.is_file():
        return ()
    document = read_document(path)
    try:
        found = Triggers.model_validate(document.value).triggers
    except ValidationError as error:
        raise PolicyError(document.explain(error, Triggers)) from error
    names = [trigger.id for trigger in found]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        raise PolicyError(f"{FILE}: trigger `{twice}` stands twice; give one another id")
    return found
