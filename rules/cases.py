"""Cases: what the policy must do, said customer by customer, in the file beside it.

`<policy>.cases.yaml` states a baseline customer to whom everything may be offered. A case changes
some facts (or tells a history of contacts, answers and money movements) and asserts for some cells
either `open` or the *exact* set of reasons. A decision case asserts what is chosen. `unknown` is a
fact the bank does not have.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, ValidationError, field_validator, model_validator

from rules.catalogue import Catalogue, Frozen, Name
from rules.column import fact
from rules.document import Document, Path_, did_you_mean, read_document
from rules.errors import PolicyError
from rules.policy import ContactPolicy, with_state
from rules.reasons import ReasonCode

Days = Annotated[float, Field(ge=-730, le=730)]
Times = Annotated[int, Field(ge=1, le=50)]
Outcome = Literal["delivered", "undelivered", "opened", "clicked", "accepted", "refused", "later", "no_response",
                  "wrong_number", "do_not_call", "complained", "opted_out"]  # fmt: skip
Facts = dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str]
Reasons = tuple[ReasonCode, ...]


class PastContact(Frozen):
    """A marketing contact days_ago (negative: planned ahead), with the customer or another of his household.

    reaction: what he did with it reaction_after_days later; none: nothing.
    """

    days_ago: Days
    channel: Name
    offer: Name
    member: Literal["self", "other"] = "self"
    times: Times = 1
    reaction: Outcome | None = None
    reaction_after_days: Annotated[float, Field(ge=0, le=365)] = 0


class PastAnswer(Frozen):
    """An outcome that came in days_ago, whenever its contact was."""

    days_ago: Days
    kind: Outcome
    channel: Name
    offer: Name
    times: Times = 1


class PastMovement(Frozen):
    """Money of one currency that left (`out`) or came in, and the balance after it, in minor units."""

    days_ago: Days
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    out: Annotated[int, Field(ge=0)] = 0
    in_: Annotated[int, Field(ge=0, alias="in")] = 0
    balance: Annotated[int, Field(ge=0)]


class History(Frozen):
    """What happened before the decision."""

    contacts: tuple[PastContact, ...] = ()
    answers: tuple[PastAnswer, ...] = ()
    movements: tuple[PastMovement, ...] = ()


class Case(Frozen):
    """One expectation about some cells. about: the part of the policy it speaks of.

    Cells: offers and families together (none: all offers) x channels. expect: `open` or reasons.
    """

    id: Name
    about: Name
    customer: Facts = Field(default_factory=dict)
    history: History = History()
    direction: Literal["outbound", "inbound", "both"] = "outbound"
    families: tuple[Name, ...] = ()
    offers: tuple[Name, ...] = ()
    channels: tuple[Name, ...] = Field(min_length=1)
    expect: Reasons

    @field_validator("expect", mode="before")
    @classmethod
    def _open(cls, value: object) -> object:
        if value == "open":
            return ()
        if not isinstance(value, list) or not value:
            raise ValueError("`expect` is `open` or a list of reasons; mend it")
        return tuple(ReasonCode.of(str(slug)) for slug in value)

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions the case speaks of."""
        return ("outbound", "inbound") if self.direction == "both" else (self.direction,)

    def cells(self, catalogue: Catalogue) -> list[int]:
        """The numbers of the cells the case speaks of."""
        offers = [o.id for o in catalogue.offers if (o.id in self.offers or o.family in self.families)
                  or not (self.offers or self.families)]  # fmt: skip
        return [catalogue.cell(offer, channel) for offer in offers for channel in self.channels]


class Expected(Frozen):
    """What a decision case expects: an offer on a channel, or silence for exactly these reasons."""

    offer: Name | None = None
    channel: Name | None = None
    silent: tuple[ReasonCode, ...] = ()

    @field_validator("silent", mode="before")
    @classmethod
    def _slugs(cls, value: object) -> object:
        return tuple(ReasonCode.of(str(slug)) for slug in value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.offer is None) != (self.channel is None) or (self.offer is None) != bool(self.silent):
            raise ValueError("`expect` is either `offer` and `channel`, or `silent` with its reasons; keep one")
        return self


class Scores(Frozen):
    """What the models would say: p_interest per offer, p_reach per channel, the rest for all alike."""

    interest: Annotated[float, Field(ge=0, le=1)] = 0.05
    reach: Annotated[float, Field(ge=0, le=1)] = 0.5
    harm: Annotated[float, Field(ge=0, le=1)] = 0.0
    churn: Annotated[float, Field(ge=0, le=1)] = 0.05
    lifetime_value_minor: Annotated[float, Field(ge=0)] = 100_000


class DecisionCase(Frozen):
    """One expectation about the whole decision. interest, reach: scores that differ from the file's."""

    id: Name
    customer: Facts = Field(default_factory=dict)
    history: History = History()
    direction: Literal["outbound", "inbound"] = "outbound"
    channels: tuple[Name, ...] = ()  # asked for; none: all
    interest: dict[Name, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    reach: dict[Name, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    expect: Expected


class Cases(Frozen):
    """A cases file: the baseline customer, the scores, and the cases."""

    policy: Name
    baseline: Facts
    scores: Scores = Scores()
    cases: tuple[Case, ...] = Field(min_length=1)
    decisions: tuple[DecisionCase, ...] = ()

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [case.id for case in (*self.cases, *self.decisions)]
        for twice in sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"case `{twice}` stands twice; give each its own id")
        return self


def load_cases(path: Path, policy: ContactPolicy, catalogue: Catalogue, columns: pa.Schema) -> Cases:
    """Read a cases file and check every name and value against policy, catalogue and columns.

    columns: the feature columns. Raises PolicyError: one line with file, line, case id, what is
    wrong and the nearest right name.
    """
    document = read_document(path)
    try:
        cases = Cases.model_validate(document.value)
    except ValidationError as error:
        raise PolicyError(document.explain(error, Cases)) from error
    _Check(document, policy, catalogue, with_state(columns, policy, catalogue)).all(cases)
    return cases


class _Check:
    """Every name of a cases file, checked; the first that is wrong is refused with its line."""

    def __init__(self, document: Document, policy: ContactPolicy, catalogue: Catalogue, columns: pa.Schema) -> None:
        self.document, self.policy, self.columns = document, policy, columns
        self.known = {"offer": list(catalogue.offer_index), "channel": list(catalogue.channel_index),
                      "family": [family.id for family in catalogue.families],
                      "part of the policy": [part.id for part in policy.parts]}  # fmt: skip

    def all(self, cases: Cases) -> None:
        if cases.policy != self.policy.id:
            self._refuse(("policy",), "", f"the cases are of policy `{cases.policy}`, not `{self.policy.id}`")
        self._facts(cases.baseline, ("baseline",), "baseline")
        for place, case in enumerate(cases.cases):
            path: Path_ = ("cases", place)
            self._case(case, path)
            for kind, names in (
                ("part of the policy", (case.about,)),
                ("offer", case.offers),
                ("family", case.families),
            ):
                self._names(kind, names, path, case.id)
        for place, decision in enumerate(cases.decisions):
            path = ("decisions", place)
            self._case(decision, path)
            asked = (*decision.interest, *([decision.expect.offer] if decision.expect.offer else []))
            self._names("offer", asked, path, decision.id)
            reached = (*decision.reach, *([decision.expect.channel] if decision.expect.channel else []))
            self._names("channel", reached, path, decision.id)

    def _case(self, case: Case | DecisionCase, path: Path_) -> None:
        self._facts(case.customer, (*path, "customer"), case.id)
        self._names("channel", case.channels, path, case.id)
        for past in (*case.history.contacts, *case.history.answers):
            self._names("offer", (past.offer,), (*path, "history"), case.id)
            self._names("channel", (past.channel,), (*path, "history"), case.id)

    def _names(self, kind: str, names: tuple[str, ...], path: Path_, case: str) -> None:
        for name in names:
            if name not in self.known[kind]:
                self._refuse(path, case, f"no {kind} `{name}`{did_you_mean(name, self.known[kind])}")

    def _facts(self, facts: Facts, path: Path_, case: str) -> None:
        for name, text in facts.items():
            if name not in self.columns.names:
                self._refuse((*path, name), case, f"unknown column `{name}`{did_you_mean(name, self.columns.names)}")
            try:
                fact(self.columns.field(name), text)
            except ValueError as error:
                self._refuse((*path, name), case, str(error))

    def _refuse(self, path: Path_, case: str, what: str) -> None:
        said = f"case `{case}`: {what}" if case else what
        raise PolicyError(said, file=self.document.file, line=self.document.line(path))
