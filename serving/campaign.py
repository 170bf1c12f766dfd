"""A campaign is a file: what is offered to whom, where, when, and with how many seats."""

from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from rules.catalogue import Catalogue, Frozen, Name, Words
from rules.document import read_document
from rules.errors import PolicyError
from rules.terms import Audience

Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class CampaignError(ValueError):
    """A campaign file does not hold, or there is no such campaign; one line."""


class Window(Frozen):
    """The days a campaign runs, both included."""

    from_: Annotated[date, Field(alias="from")]
    to: date

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.from_ > self.to:
            raise ValueError(f"`window` ends on {self.to}, before it begins on {self.from_}; swap the two")
        return self


class SendHours(Frozen):
    """The customer's local hours in which a list's contacts are sent."""

    after: Clock = "10:00"
    before: Clock = "19:00"

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.after >= self.before:
            raise ValueError(f"`send` ends at {self.before}, not after its begin at {self.after}; mend one of the two")
        return self


class Campaign(Frozen):
    """One campaign. offers and families together name what is offered; empty channels: all.

    audience: a condition in the rule language over customers. seats: contacts per run and channel;
    a channel that is not named is not bounded.
    """

    id: Name
    title: Words
    owner: Annotated[str, Field(min_length=1, max_length=80)]
    offers: tuple[Name, ...] = ()
    families: tuple[Name, ...] = ()
    channels: tuple[Name, ...] = ()
    audience: Annotated[str, Field(min_length=1, max_length=4000)] = "TRUE"
    window: Window
    send: SendHours = SendHours()
    seats: dict[Name, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    def in_force(self, day: date) -> bool:
        """Whether the campaign runs that day."""
        return self.window.from_ <= day <= self.window.to

    def audience_of(self, catalogue: Catalogue) -> Audience:
        """Its cells and condition; CampaignError where it names what the catalogue lacks."""
        for kind, names, known in (("offer", self.offers, catalogue.offer_index), ("channel", self.channels, catalogue.channel_index),
                                   ("channel", self.seats, catalogue.channel_index), ("family", self.families, {f.id for f in catalogue.families})):  # fmt: skip
            for name in names:
                if name not in known:
                    raise CampaignError(
                        f"campaign `{self.id}`: the catalogue has no {kind} `{name}`; mend one of the two"
                    )
        offers = tuple(o.id for o in catalogue.offers if o.id in self.offers or o.family in self.families)
        if not offers:
            raise CampaignError(f"campaign `{self.id}` offers nothing; name offers or families")
        return Audience(self.id, offers, self.channels or tuple(catalogue.channel_index), self.audience)


def load_campaign(path: Path) -> Campaign:
    """One campaign file; CampaignError with file, line and remedy where it does not hold."""
    try:
        document = read_document(path)
    except PolicyError as error:
        raise CampaignError(str(error)) from error
    try:
        return Campaign.model_validate(document.value)
    except ValidationError as error:
        raise CampaignError(document.explain(error, Campaign)) from error


def load_campaigns(folder: Path) -> dict[str, Campaign]:
    """Every `*.yaml` of the folder by id, in the order of their file names."""
    campaigns: dict[str, Campaign] = {}
    for path in sorted(folder.glob("*.yaml")):
        campaign = load_campaign(path)
        if campaign.id in campaigns:
            raise CampaignError(f"campaign `{campaign.id}` stands in two files; give one another id")
        campaigns[campaign.id] = campaign
    return campaigns
