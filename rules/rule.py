"""Rule: one sentence of the contact policy, the condition behind it, and where it holds."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from rules.catalogue import Catalogue, Frozen, Name, Words
from rules.reasons import Layer, ReasonCode

Direction = Literal["outbound", "inbound", "any"]


class Scope(Frozen):
    """Which cells a rule governs; an empty list means all."""

    families: tuple[Name, ...] = ()
    offers: tuple[Name, ...] = ()
    channels: tuple[Name, ...] = ()
    direction: Direction = "any"
    purpose: Literal["marketing"] = "marketing"  # service messages are never suppressed here

    def cells(self, catalogue: Catalogue) -> int:
        """The governed cells as a bit set: bit k is cell k."""
        bits = 0
        for offer in catalogue.offers:
            if (self.families and offer.family not in self.families) or (self.offers and offer.id not in self.offers):
                continue
            for channel in catalogue.channels:
                if not self.channels or channel.id in self.channels:
                    bits |= 1 << catalogue.cell(offer.id, channel.id)
        return bits

    def unknown_names(self, catalogue: Catalogue) -> list[tuple[str, str, list[str]]]:
        """(kind, name, right names) of every family, offer or channel the catalogue lacks."""
        known = {"family": [f.id for f in catalogue.families], "offer": [o.id for o in catalogue.offers],
                 "channel": [c.id for c in catalogue.channels]}  # fmt: skip
        asked = {"family": self.families, "offer": self.offers, "channel": self.channels}
        return [(kind, name, known[kind]) for kind, names in asked.items() for name in names if name not in known[kind]]


class Effective(Frozen):
    """The days the rule is in force, both ends included; null is open."""

    from_: Annotated[date | None, Field(alias="from")] = None
    to: date | None = None

    def on(self, day: date) -> bool:
        """Whether the rule is in force that day."""
        return (self.from_ is None or self.from_ <= day) and (self.to is None or day <= self.to)


class Stated(Frozen):
    """What every part of a policy says of itself to the people who read it."""

    id: Name
    reason: ReasonCode
    title: Words
    explanation: Words | None = None
    source: Annotated[str, Field(min_length=1, max_length=200)]
    owner: Annotated[str, Field(min_length=1, max_length=80)]
    effective: Effective = Effective()

    def stated(self) -> dict[str, Any]:
        """These statements alone: what a rule lowered from this part says of itself."""
        return {name: getattr(self, name) for name in Stated.model_fields}

    @field_validator("reason", mode="before")
    @classmethod
    def _reason(cls, value: object) -> ReasonCode:
        return value if isinstance(value, ReasonCode) else ReasonCode.of(str(value))


class Rule(Stated):
    """When `when` is TRUE or UNKNOWN, every cell in scope is closed for `reason`."""

    layer: Layer
    scope: Scope = Scope()
    when: Annotated[str, Field(min_length=1, max_length=4000)]
