"""Terms: everything a decision depends on besides the customer's own row. Frozen and hashed."""

import hashlib
import json
from copy import copy
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import pyarrow as pa

from rules.catalogue import Catalogue
from rules.closures import Plain, Reader
from rules.policy import ContactPolicy, with_state
from rules.program import AudienceSpec, Program, compile_program


@dataclass(frozen=True)
class Wording:
    """A treatment that a campaign may use. languages: of the customers it speaks to; () all, known or not."""

    treatment: str
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audience:
    """A campaign in force: its cells, and the condition (rule language) of who belongs to it.

    wordings: what it may say; a cell whose wording is not among them is none of its cells. None: whatever the catalogue has.
    """

    campaign_id: str
    offers: tuple[str, ...]
    channels: tuple[str, ...]
    when: str = "TRUE"
    wordings: tuple[Wording, ...] | None = None

    def cells(self, catalogue: Catalogue) -> dict[tuple[str, str], tuple[str, ...]]:
        """(offer, channel) -> languages of the customers it speaks to there, () all; of every cell it has."""
        every = [(offer, channel) for offer in self.offers for channel in self.channels]
        if self.wordings is None:
            return dict.fromkeys(every, ())
        named = {wording.treatment: wording.languages for wording in self.wordings}
        said = {cell: catalogue.treatment(*cell) for cell in every}
        return {cell: named[wording] for cell, wording in said.items() if wording in named}

    def parts(self, catalogue: Catalogue, when: str) -> list[AudienceSpec]:
        """Its cells by the condition that holds for them. when: who belongs to it, caps considered; a language comes on top."""
        alike: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for cell, languages in self.cells(catalogue).items():
            alike.setdefault(languages, []).append(cell)
        return [(self.campaign_id, cells, f"({when}) AND language IN ({', '.join(map(repr, languages))})" if languages else when)
                for languages, cells in alike.items()]  # fmt: skip


@dataclass(frozen=True)
class Exploration:
    """A share of customers, drawn anew each local day, gets a random open cell instead of the best.

    Only cells with a positive value at most max_loss_minor below the best are drawn from, so the
    expected loss per decision is at most share x max_loss_minor.
    """

    share: float = 0.0
    max_loss_minor: int = 0


@dataclass(frozen=True)
class Holdout:
    """The universal no-contact group: a share of units, the same for a whole season."""

    share: float = 0.0
    season: str = ""


@dataclass(frozen=True, eq=False)  # equals itself alone, which makes it hashable; `revision` says what is alike
class Terms:
    """Catalogue, policy, campaigns, prices, exploration, holdout and switches of one moment.

    columns: feature columns that rules may name. audiences: None means no campaign is asked for
    (what-if, tests); () means no campaign is in force. prices: bid price in minor units per cell;
    () means 0. holidays: local days on which send windows end where a rule closes on `is_holiday`. paused: "all", "channel:sms", "family:wealth", "offer:x", "campaign:y". secret keys
    the draws and is not part of the revision.
    """

    catalogue: Catalogue
    policy: ContactPolicy
    columns: pa.Schema
    day: date | None = None  # rules in force that day; None: all
    audiences: tuple[Audience, ...] | None = None
    prices: tuple[int, ...] = ()
    exploration: Exploration = Exploration()
    holdout: Holdout = Holdout()
    paused: frozenset[str] = frozenset()
    secret: bytes = field(default=b"", repr=False)
    holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        """Caps per campaign count the campaigns in force; replacing them binds the policy anew."""
        campaigns = tuple((a.campaign_id, a.offers, a.channels) for a in self.audiences or ())
        object.__setattr__(self, "policy", self.policy.for_campaigns(campaigns))

    def priced(self, prices: tuple[int, ...]) -> "Terms":
        """The same terms under other bid prices, one a cell; () means 0.

        What is compiled of the rules reads no price: it is made once and shared, for prices change with every list.
        """
        assert len(prices) in (0, self.catalogue.n_cells), "one bid price a cell"
        if prices == self.prices:
            return self
        _ = self.program, self.plain, self.state_schema  # made here, or each twin would make its own
        twin = copy(self)
        vars(twin).pop("revision", None)
        vars(twin)["prices"] = prices
        return twin

    @cached_property
    def revision(self) -> str:
        """sha256 over all but the secret: two decisions of one revision and one row are equal."""
        content = {"catalogue": self.catalogue.revision, "policy": self.policy.revision, "day": str(self.day),
                   "columns": [(f.name, str(f.type)) for f in self.state_schema],
                   "audiences": None if self.audiences is None else [
                       (a.campaign_id, a.offers, a.channels, a.when, *_said(a)) for a in self.audiences],
                   "prices": self.prices, "exploration": (self.exploration.share, self.exploration.max_loss_minor),
                   "holdout": (self.holdout.share, self.holdout.season), "paused": sorted(self.paused),
                   "holidays": sorted(map(str, self.holidays))}  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def vocabulary(self) -> pa.Schema:
        """Every column a rule may name: features and the policy's own state."""
        return with_state(self.columns, self.policy, self.catalogue)

    @cached_property
    def program(self) -> Program:
        """The compiled rules; ConditionError where one does not hold against columns and catalogue."""
        return compile_program(self.catalogue, self.policy.lowered(self.catalogue, self.day), self.vocabulary,
                               [part for a in self.audiences
                                for part in a.parts(self.catalogue, self.policy.narrowed(a.campaign_id, a.when, self.day))]
                               if self.audiences is not None else None, self.paused)  # fmt: skip

    @cached_property
    def treatments(self) -> tuple[str | None, ...]:
        """The first wording of each cell, in cell order; null where none is written."""
        offers, channels = self.catalogue.offers, self.catalogue.channels
        return tuple(self.catalogue.treatment(offer.id, channel.id) for offer in offers for channel in channels)

    @cached_property
    def readers(self) -> list[Reader]:
        """Readers of the schemas met so far, checked once each; filled by `rules.suppress`."""
        return []

    @cached_property
    def plain(self) -> Plain:
        """Makes plain rows of the columns the rules read, for `decide` and `suppress`."""
        return Plain(self.program.types)

    @cached_property
    def state_schema(self) -> pa.Schema:
        """The columns that must follow those of CUSTOMERS: what the compiled rules read, by name.

        Where a rule reads the clock `time_zone` is among them: it says when the clock will close a cell.
        """
        zone = {"time_zone"} & set(self.vocabulary.names) if self.program.clock else set[str]()
        return pa.schema([self.vocabulary.field(name) for name in sorted({*self.program.columns, *zone})])


def _said(audience: Audience) -> list[list[tuple[str, tuple[str, ...]]]]:
    """Its wordings, where it names some: without, terms keep the revision they have in the records."""
    return [] if audience.wordings is None else [[(one.treatment, one.languages) for one in audience.wordings]]
