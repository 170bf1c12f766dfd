"""What can be offered, where, with which wording, at what value and cost.

A *cell* is one offer on one channel. Cells are numbered offer by offer, channel by channel, in
the order of the catalogue file: cell = offer index x number of channels + channel index.
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rules.document import read_document
from rules.errors import CatalogueError
from rules.line import Line

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Minor = Annotated[int, Field(ge=-(10**15), le=10**15)]


class Frozen(BaseModel):
    """The base of everything read from a file: no extra keys, no change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Words(Line, Frozen):
    """A text in the two languages of the house, as a file states it: neither is empty, neither a book."""

    en: Annotated[str, Field(min_length=1, max_length=2000)]
    zh: Annotated[str, Field(min_length=1, max_length=2000)]


class Family(Frozen):
    """Offers that a customer takes for one thing: caps, cool-offs and suppressions name it."""

    id: Name
    title: Words


class Channel(Frozen):
    """A way to reach a customer. cost_minor is spent by every contact, answered or not."""

    id: Name
    title: Words
    cost_minor: Minor = 0
    disturbs: bool = True  # rings or buzzes: quiet hours bind it


class Offer(Frozen):
    """One product with one condition, of the value margin_minor when accepted.

    currency and entry_minor: what the customer must hold to be able to accept; null where the
    offer asks for no money. risk_grade 1..5, null where there is no investment risk. save_rate:
    share of leavers a retention offer keeps; null for all others.
    """

    id: Name
    family: Name
    title: Words
    product: Name | None = None  # the bank's product whose holders have it already
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    entry_minor: Annotated[int, Field(ge=0)] | None = None
    risk_grade: Annotated[int, Field(ge=1, le=5)] | None = None
    credit: bool = False
    personalised: bool = True  # chosen by profiling; the law asks for a way out of that
    margin_minor: Minor
    save_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    lever: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    channels: tuple[Name, ...] = Field(min_length=1)


class Treatment(Frozen):
    """The wording of an offer on a channel."""

    id: Name
    offer: Name
    channel: Name
    template: Words


class Catalogue(Frozen):
    """All families, channels, offers and treatments, checked against each other."""

    families: tuple[Family, ...] = Field(min_length=1)
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=64)
    offers: tuple[Offer, ...] = Field(min_length=1, max_length=512)
    treatments: tuple[Treatment, ...] = ()
    base_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    schema_version: Literal["1"] = "1"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind, items in (("family", self.families), ("channel", self.channels),
                            ("offer", self.offers), ("treatment", self.treatments)):  # fmt: skip
            ids = [item.id for item in items]
            for twice in {name for name in ids if ids.count(name) > 1}:
                raise ValueError(f"{kind} `{twice}` stands twice; give each its own id")
        families, channels = {f.id for f in self.families}, {c.id for c in self.channels}
        offers = {offer.id: offer for offer in self.offers}
        for offer in self.offers:
            if offer.family not in families:
                raise ValueError(f"offer `{offer.id}`: no family `{offer.family}`; add it or mend the name")
            for channel in offer.channels:
                if channel not in channels:
                    raise ValueError(f"offer `{offer.id}`: no channel `{channel}`; add it or mend the name")
            if offer.entry_minor is not None and offer.currency is None:
                raise ValueError(f"offer `{offer.id}`: entry_minor without currency; name the currency")
        for treatment in self.treatments:
            if treatment.offer not in offers or treatment.channel not in offers[treatment.offer].channels:
                raise ValueError(f"treatment `{treatment.id}`: offer `{treatment.offer}` is not on"
                                 f" channel `{treatment.channel}`; mend one of the two")  # fmt: skip
        return self

    @cached_property
    def n_cells(self) -> int:
        """Offers x channels."""
        return len(self.offers) * len(self.channels)

    @cached_property
    def cell_names(self) -> tuple[str, ...]:
        """`offer|channel` of each cell."""
        return tuple(f"{offer.id}|{channel.id}" for offer in self.offers for channel in self.channels)

    @cached_property
    def revision(self) -> str:
        """sha256 of the canonical JSON: equal content, equal revision."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def offer_index(self) -> dict[str, int]:
        """Offer id -> its place."""
        return {offer.id: place for place, offer in enumerate(self.offers)}

    @cached_property
    def channel_index(self) -> dict[str, int]:
        """Channel id -> its place."""
        return {channel.id: place for place, channel in enumerate(self.channels)}

    def cell(self, offer: str, channel: str) -> int:
        """The number of a cell; KeyError where the catalogue lacks the offer or channel."""
        return self.offer_index[offer] * len(self.channels) + self.channel_index[channel]

    def treatment(self, offer: str, channel: str) -> str | None:
        """The first wording of the offer on the channel, null where none is written."""
        for treatment in self.treatments:
            if (treatment.offer, treatment.channel) == (offer, channel):
                return treatment.id
        return None


def load_catalogue(path: Path) -> Catalogue:
    """Read `catalogue.yaml`; CatalogueError with file, line and remedy where it does not hold."""
    document = read_document(path)
    try:
        return Catalogue.model_validate(document.value)
    except ValidationError as error:
        raise CatalogueError(document.explain(error, Catalogue)) from error
