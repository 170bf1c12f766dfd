"""Cool-offs: after an answer, or none, we leave the customer alone for a while.

A cool-off lowers to one `..._days_left` column per thing it is about (family, offer, channel, or
everything) and one rule over it. It always ends: lasts_days after its last cause.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from rules.catalogue import Catalogue
from rules.column import declare
from rules.facts import DAY_MICROS
from rules.reasons import Layer
from rules.rule import Rule, Scope, Stated

About = Literal["family", "offer", "channel", "all"]
OutcomeKind = Literal[
    "undelivered", "refused", "later", "no_response", "ignored", "wrong_number", "complained", "accepted"
]
LOOK_BACK_DAYS = 730  # what the ledger is asked for


class CoolOff(Stated):
    """After `count` of `outcomes` within `within_days`: silence about the same `about` for `lasts_days`.

    `ignored` is a sent outbound marketing contact to which the customer did not react within
    ignored_after_days, or earlier said by the channel to have had no_response (rules.facts.ignored_at).
    """

    layer: Literal["suppression", "contact"] = "suppression"
    outcomes: tuple[OutcomeKind, ...] = Field(min_length=1)
    count: Annotated[int, Field(ge=1, le=50)] = 1
    within_days: Annotated[int, Field(ge=1, le=730)] = 30
    ignored_after_days: Annotated[int, Field(ge=1, le=90)] = 7
    about: About = "family"
    lasts_days: Annotated[int, Field(ge=1, le=730)]
    direction: Literal["outbound", "any"] = "any"

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if {"ignored", "no_response"} <= set(self.outcomes):
            raise ValueError(f"pause `{self.id}`: `ignored` holds `no_response`; keep one of the two")
        back = self.lasts_days + (self.within_days if self.count > 1 else 0)
        back += self.ignored_after_days if "ignored" in self.outcomes else 0
        if back > LOOK_BACK_DAYS:
            raise ValueError(f"pause `{self.id}`: looks {back} days back; the ledger is read for {LOOK_BACK_DAYS}")
        return self

    def column(self, about: str) -> str:
        """The computed column name for one family, offer or channel."""
        return f"cooloff_{self.id}_days_left" if self.about == "all" else f"cooloff_{self.id}_{about}_days_left"

    def rule(self) -> Rule:
        """The rule over the column of the cell's own family, offer or channel."""
        return Rule(**self.stated(), layer=Layer(self.layer), scope=Scope(direction=self.direction),
                    when=f"{self.column(f'this_{self.about}')} > 0")  # fmt: skip

    def abouts(self, catalogue: Catalogue) -> list[str]:
        """The families, offers or channels with a column of their own."""
        items = {"family": catalogue.families, "offer": catalogue.offers, "channel": catalogue.channels}
        return ["all"] if self.about == "all" else [item.id for item in items[self.about]]

    def fields(self, catalogue: Catalogue) -> list[pa.Field]:
        """The declared state columns."""
        en, zh = self.title.en.rstrip("."), self.title.zh.rstrip("。")
        return [declare(self.column(about), pa.float64(), unit="days", domain="[0,)", null="ledger not read", source="ledger outcomes",
                        en=f"days left of the pause `{en}`" + (f" ({about})" if about != "all" else ""),
                        zh=f"“{zh}”剩余天数" + (f"（{about}）" if about != "all" else ""))
                for about in self.abouts(catalogue)]  # fmt: skip

    def until(self, causes: Iterable[int]) -> int | None:
        """The instant (micros) the pause ends, from the instants of its outcomes; None: no pause.

        The pause begins at each outcome that is the count-th within within_days, itself included.
        """
        times = sorted(causes)
        window = self.within_days * DAY_MICROS
        begun = [t for place, t in enumerate(times)
                 if place + 1 >= self.count and times[place + 1 - self.count] > t - window]  # fmt: skip
        return begun[-1] + self.lasts_days * DAY_MICROS if begun else None


__all__ = ["DAY_MICROS", "CoolOff"]
