"""The field's order words: never A with B, never B after A, only B after A.

An order lowers to counters (`rules.caps.ContactCount`) or to a count of precedents (what was sent
or accepted so many days ago), and rules over them.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from rules.caps import ContactCount, Side
from rules.catalogue import Catalogue, Frozen, Name
from rules.column import declare
from rules.facts import DAY_MICROS
from rules.reasons import Layer, ReasonCode
from rules.rule import Rule, Scope, Stated

Once = Literal["sent", "accepted"]


@dataclass(frozen=True)
class Precedent:
    """How often family or offer was sent or accepted from at_least_days to within_days ago.

    Counted at instants t with t <= a - at_least_days and t > b - within_days for a contact sent
    somewhere in [a, b]: old enough at its earliest, not too old at its latest. sent: outbound
    marketing contacts that went out; accepted: the customer's answers in any direction.
    """

    once: Once
    family: str | None
    offer: str | None
    at_least_days: int
    within_days: int

    @property
    def name(self) -> str:
        """The computed column name: `accepted_offer_deposit_usd_6m_30d_to_365d`."""
        about = f"family_{self.family}" if self.family else f"offer_{self.offer}"
        return f"{self.once}_{about}_{self.at_least_days}d_to_{self.within_days}d"

    def bounds(self, after: int, before: int) -> tuple[int, int]:
        """(newest, oldest): t counts iff oldest < t <= newest."""
        return after - self.at_least_days * DAY_MICROS, before - self.within_days * DAY_MICROS

    def field(self) -> pa.Field:
        """The declared state column."""
        what, ago = self.family or self.offer, f"{self.at_least_days} to {self.within_days} days ago"
        said = {"sent": "发送", "accepted": "接受"}[self.once]
        return declare(self.name, pa.float64(), unit="contacts", domain="[0,)", null="ledger not read",
                       source="ledger contacts" if self.once == "sent" else "ledger outcomes",
                       en=f"how often {what} was {self.once} {ago}",
                       zh=f"{self.at_least_days}至{self.within_days}天前{said}{what}的次数")  # fmt: skip


class Thing(Frozen):
    """A family or an offer."""

    family: Name | None = None
    offer: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.family is None) == (self.offer is None):
            raise ValueError("name a family or an offer, one of the two")
        return self

    def scope(self, layer: Layer) -> Scope:
        """Its cells; contact rules bind what goes out, suppression rules every direction."""
        return Scope(families=(self.family,) if self.family else (), offers=(self.offer,) if self.offer else (),
                     direction="outbound" if layer is Layer.CONTACT else "any")  # fmt: skip


class Order(Stated):
    """`never: A, with: B` | `never: B, after: A` | `only: B, after: A`, each within_days.

    never .. with: no contact about A in one window of within_days with one about B, either way.
    never .. after: none about B in the within_days after one about A; nor A in those before B.
    only .. after: B only when A was sent (or accepted) from at_least_days to within_days ago.
    """

    never: Thing | None = None
    only: Thing | None = None
    with_: Annotated[Thing | None, Field(alias="with")] = None
    after: Thing | None = None
    once: Once = "sent"
    at_least_days: Annotated[int, Field(ge=0, le=729)] = 0
    within_days: Annotated[int, Field(ge=1, le=730)]
    level: Literal["person", "unit"] = "person"

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.reason not in (ReasonCode.WRONG_ORDER, ReasonCode.NOT_YET_DUE):
            raise ValueError(f"order `{self.id}`: reason is `{self.reason.slug}`; take wrong_order or not_yet_due")
        if (self.never is None) == (self.only is None):
            raise ValueError(f"order `{self.id}`: needs `never` or `only`, one of the two")
        if (self.with_ is None) == (self.after is None) or (self.only is not None and self.after is None):
            raise ValueError(f"order `{self.id}`: `never` needs `with` or `after`, `only` needs `after`")
        if self.never and (self.at_least_days or self.once != "sent"):
            raise ValueError(f"order `{self.id}`: at_least_days and once belong to `only`; remove them")
        if self.at_least_days >= self.within_days:
            raise ValueError(f"order `{self.id}`: at_least_days is not less than within_days; it could never be met")
        if self.level == "unit" and (self.only or any(thing.offer for thing in self.things)):
            raise ValueError(f"order `{self.id}`: a household's order is `never` between families; name families")
        return self

    @property
    def layer(self) -> Layer:
        """Its reason's: contact binds what goes out, suppression every direction."""
        return self.reason.layer

    @property
    def things(self) -> tuple[Thing, ...]:
        """A and B, as written."""
        return tuple(thing for thing in (self.never, self.only, self.with_, self.after) if thing)

    def precedents(self) -> list[Precedent]:
        """What `only .. after` asks the ledger."""
        if not (self.only and self.after):
            return []
        return [Precedent(self.once, self.after.family, self.after.offer, self.at_least_days, self.within_days)]

    def _pairs(self) -> list[tuple[Thing, ContactCount]]:
        """(what closes, the counter that closes it) of a `never`."""
        if not self.never:
            return []
        other, sides = (self.with_, ("around", "around")) if self.with_ else (self.after, ("before", "after"))
        assert other  # by _sensible
        both: tuple[tuple[Thing, Thing, Side], ...] = (
            (self.never, other, sides[0]),
            (other, self.never, sides[1]),
        )  # pyright: ignore[reportAssignmentType]  # the sides are literals
        return [(closed, ContactCount(self.level == "unit", None, seen.family, self.within_days, seen.offer, side=side))
                for closed, seen, side in both]  # fmt: skip

    def counts(self) -> list[ContactCount]:
        """The counters a `never` needs."""
        return [count for _, count in self._pairs()]

    def rules(self) -> list[Rule]:
        """The rules: one for `only`, one for each of A and B for `never`."""
        said, layer = self.stated(), self.layer
        if self.only:
            [precedent] = self.precedents()
            return [Rule(**said, layer=layer, scope=self.only.scope(layer), when=f"{precedent.name} < 1")]
        return [Rule(**said, layer=layer, scope=closed.scope(layer), when=f"{count.name} >= 1")
                for closed, count in self._pairs()]  # fmt: skip

    def unknown_names(self, catalogue: Catalogue) -> list[tuple[str, str, list[str]]]:
        """(kind, name, right names) of a family or offer the catalogue lacks."""
        return [found for thing in self.things for found in thing.scope(self.layer).unknown_names(catalogue)]
