"""A campaign is a file: what is offered to whom, where, when, and with how many seats."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import Field, ValidationError, model_validator

from features.settings import zones
from rules.catalogue import Catalogue, Frozen, Name, Words
from rules.document import did_you_mean, read_document
from rules.errors import PolicyError
from rules.terms import Audience, Wording

Counts = dict[Name, Annotated[int, Field(ge=0, le=10**9)]]
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


class Schedule(Frozen):
    """When a campaign runs by itself. cron: five fields, in `zone`; null zone: the bank's.

    holidays: what to do on a holiday. missed: runs that fell due while nobody was there - the last of them, all, or none.
    """

    cron: Annotated[str, Field(min_length=1, max_length=120)]
    zone: str | None = None
    holidays: Literal["run", "skip"] = "skip"
    missed: Literal["last", "all", "none"] = "last"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(self.cron.split()) != 5:
            raise ValueError(
                f"`cron` has {len(self.cron.split())} fields; minute, hour, day, month and weekday are five"
            )
        try:
            found = next(CronSim(self.cron, datetime(2026, 1, 1, tzinfo=UTC)), None)
        except CronSimError as error:
            raise ValueError(f"`cron` is `{self.cron}`: {str(error).lower()}; man 5 crontab has the syntax") from None
        if found is None:
            raise ValueError(f"`cron` is `{self.cron}`, which never comes; mend its day or month")
        if self.zone is not None and self.zone not in zones():
            near = did_you_mean(self.zone, zones()) or "; write an IANA zone such as Asia/Shanghai"
            raise ValueError(f"`zone` is `{self.zone}`{near}")
        return self


class CampaignTreatment(Frozen):
    """A wording this campaign may use: its id in the catalogue, who approved it, until when, and what the law adds below.

    language: the one that was approved, for the customers who speak it; null: both, each customer in his own.
    """

    id: Name
    language: Literal["en", "zh"] | None = None
    legal_footer: Annotated[str, Field(min_length=1, max_length=1000)]
    approved_by: Annotated[str, Field(min_length=1, max_length=80)]
    approved_on: date
    expires_on: date

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.approved_on > self.expires_on:
            raise ValueError(
                f"treatment `{self.id}` expires on {self.expires_on}, before its approval; mend one of the two"
            )
        return self


class Campaign(Frozen):
    """One campaign. offers and families together name what is offered; empty channels: all.

    audience: a condition in the rule language over customers. Contacts, at most: seats, per run and channel;
    per_day, per channel and the bank's day, all runs together; per_minute, per channel and run, spread over the sending
    hours; per_branch and per_manager, for each of them, per run
    and channel; inventory, per run and offer. minimums: contacts per offer, at least. budget_minor: what the
    contacts of a run may cost. Who is not named is not bounded. Of campaigns that run together each keeps its own limits, over the
    offers and channels it has; those that have some in common share a budget: what they say of it adds up.
    holdout_share is never below the universal one; exploration_share null: the bank's own. seeds: test addresses, no customers.
    approved_by: who signed it elsewhere, never the owner; it lets nothing run: the review does (serving/changes/approved.py).
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
    seats: Counts = Field(default_factory=dict)
    per_day: Counts = Field(default_factory=dict)
    per_minute: dict[Name, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    per_branch: Counts = Field(default_factory=dict)
    per_manager: Counts = Field(default_factory=dict)
    inventory: Counts = Field(default_factory=dict)
    minimums: Counts = Field(default_factory=dict)
    budget_minor: Annotated[int, Field(ge=0, le=10**15)] | None = None
    treatments: tuple[CampaignTreatment, ...] = ()
    schedule: Schedule | None = None
    holdout_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    exploration_share: Annotated[float, Field(ge=0, le=0.1)] | None = None
    seeds: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$")], ...] = ()
    approved_by: Annotated[str, Field(min_length=1, max_length=80)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.approved_by is not None and self.approved_by.strip().casefold() == self.owner.strip().casefold():
            raise ValueError(f"`approved_by` is the owner, `{self.owner}`; somebody else has to approve")
        for offer, least in self.minimums.items():
            if least > self.inventory.get(offer, least):
                raise ValueError(
                    f"`minimums` asks for {least:,} of `{offer}`, `inventory` has {self.inventory[offer]:,}; mend one of the two"
                )
        for twice in sorted({t.id for t in self.treatments if [u.id for u in self.treatments].count(t.id) > 1}):
            raise ValueError(f"treatment `{twice}` stands twice; remove one")
        return self

    def treatment(self, name: str | None, day: date | None = None) -> CampaignTreatment | None:
        """The wording of that id; null where it is not named, or not approved that day, if one is given."""
        found = next((one for one in self.treatments if one.id == name), None)
        return found if found is None or day is None or found.approved_on <= day <= found.expires_on else None

    def allows(self, name: str | None, day: date) -> bool:
        """Whether the wording may be sent that day: a campaign that names none may send what the catalogue has."""
        return not self.treatments or self.treatment(name, day) is not None

    def still_says(self, offer: str | None, family: str | None, channel: str, treatment: str | None, day: date) -> bool:
        """Whether a contact made in its name may go out that day: it offers that there, in a wording that may be sent."""
        offered = offer in self.offers or family in self.families
        return offered and channel in (self.channels or (channel,)) and self.allows(treatment, day)

    def check_day(self, day: date) -> None:
        """CampaignError where the campaign does not run that day, or names wordings of which none is approved then."""
        if not self.in_force(day):
            raise CampaignError(
                f"campaign `{self.id}` runs from {self.window.from_} to {self.window.to}, not on {day}; mend its window"
            )
        if not self.treatments or any(self.treatment(one.id, day) for one in self.treatments):
            return
        for treatment in self.treatments:
            if day > treatment.expires_on:
                raise CampaignError(
                    f"campaign `{self.id}`: treatment `{treatment.id}` expired on {treatment.expires_on}; renew its approval"
                )
            if day < treatment.approved_on:
                raise CampaignError(
                    f"campaign `{self.id}`: treatment `{treatment.id}` is approved from {treatment.approved_on} only"
                )

    def in_force(self, day: date) -> bool:
        """Whether the campaign runs that day."""
        return self.window.from_ <= day <= self.window.to

    def audience_of(self, catalogue: Catalogue, day: date | None = None) -> Audience:
        """Its cells and condition, under the wordings approved that day, or all; CampaignError: it names what the catalogue lacks."""
        families = [family.id for family in catalogue.families]
        treatments = {treatment.id: treatment for treatment in catalogue.treatments}
        named = (("offer", self.offers, catalogue.offer_index), ("offer", self.inventory, catalogue.offer_index),
                 ("offer", self.minimums, catalogue.offer_index), ("channel", self.channels, catalogue.channel_index),
                 *(("channel", counts, catalogue.channel_index) for counts in (self.seats, self.per_day, self.per_minute, self.per_branch, self.per_manager)),
                 ("family", self.families, families), ("treatment", [t.id for t in self.treatments], treatments))  # fmt: skip
        for kind, names, known in named:
            for name in names:
                if name not in known:
                    near = did_you_mean(name, known) or "; mend one of the two"
                    raise CampaignError(f"campaign `{self.id}`: the catalogue has no {kind} `{name}`{near}")
        offers = tuple(o.id for o in catalogue.offers if o.id in self.offers or o.family in self.families)
        if not offers:
            raise CampaignError(f"campaign `{self.id}` offers nothing; name offers or families")
        for name in (*self.inventory, *self.minimums, *(treatments[t.id].offer for t in self.treatments)):
            if name not in offers:
                raise CampaignError(
                    f"campaign `{self.id}` counts or words `{name}`, which it does not offer; mend one of the two"
                )
        wordings = tuple(
            Wording(t.id, (t.language,) if t.language else ())
            for t in self.treatments
            if day is None or self.treatment(t.id, day)
        )
        return Audience(
            self.id,
            offers,
            self.channels or tuple(catalogue.channel_index),
            self.audience,
            wordings if self.treatments else None,
        )


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
