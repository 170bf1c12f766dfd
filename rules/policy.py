"""ContactPolicy: what compliance reads - rules in layers, caps, cool-offs, suppressions, quiet hours.

Loaded from one YAML file, checked against the catalogue and the columns that exist, hashed to a
revision. Everything lowers to `Rule`s over state columns, in the order of their reasons.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import pyarrow as pa
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from rules.caps import Campaign, Cap, ContactCount
from rules.catalogue import Catalogue, Frozen, Name, Words
from rules.cooloffs import CoolOff
from rules.document import Document, read_document
from rules.errors import ConditionError, PolicyError
from rules.language import Language
from rules.order import Order, Precedent
from rules.quiet import CLOCK, QuietHours
from rules.reasons import RANK
from rules.rule import Rule, Scope
from rules.suppressions import EventSuppression


class ContactPolicy(Frozen):
    """All rules of one policy."""

    id: Name
    title: Words
    source: Annotated[str, Field(min_length=1)]
    rules: tuple[Rule, ...] = ()
    caps: tuple[Cap, ...] = ()
    cool_offs: tuple[CoolOff, ...] = ()
    event_suppressions: tuple[EventSuppression, ...] = ()
    orders: tuple[Order, ...] = ()
    quiet_hours: tuple[QuietHours, ...] = ()
    _campaigns: tuple[Campaign, ...] = PrivateAttr(())  # those in force: caps per campaign count them

    @property
    def parts(self) -> tuple[Rule | Cap | CoolOff | EventSuppression | Order | QuietHours, ...]:
        """Everything with an id, in the order of the file's sections."""
        return (*self.rules, *self.caps, *self.cool_offs, *self.event_suppressions, *self.orders, *self.quiet_hours)

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [part.id for part in self.parts]
        for twice in sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"id `{twice}` stands twice; every rule, cap and pause needs its own")
        for part in self.parts:
            if part.reason.layer != part.layer:
                kind = "rule" if isinstance(part, Rule) else "part"
                raise ValueError(f"{kind} `{part.id}`: reason `{part.reason.slug}` belongs to layer"
                                 f" `{part.reason.layer}`, not `{part.layer}`; change one of the two")  # fmt: skip
        return self

    @cached_property
    def campaigns(self) -> tuple[Campaign, ...]:
        """The campaigns that caps per campaign count; () where there is no such cap."""
        return self._campaigns

    def for_campaigns(self, campaigns: tuple[Campaign, ...]) -> Self:
        """The policy for the campaigns in force; its content, and so its revision, is the same."""
        wanted = campaigns if any(cap.campaign == "each" for cap in self.caps) else ()
        if wanted == self._campaigns:
            return self
        bound = self.model_copy()
        bound._campaigns = wanted
        return bound

    def narrowed(self, campaign: str, when: str, day: date | None = None) -> str:
        """The condition of who belongs to a campaign, without those its own caps have spent."""
        caps = [cap for cap in self.caps if day is None or cap.effective.on(day)]
        spares = [spared for cap in caps if (spared := cap.spares(campaign))]
        return " AND ".join([f"({when})", *spares]) if spares else when

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A changed copy, with a revision and campaigns of its own: pydantic would carry the cached ones along."""
        copy = super().model_copy(update=update, deep=deep)
        for cached in ("revision", "campaigns"):
            vars(copy).pop(cached, None)
        return copy

    @cached_property
    def revision(self) -> str:
        """sha256 of the canonical JSON: equal content, equal revision."""
        text = json.dumps(
            self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def lowered(self, catalogue: Catalogue, day: date | None = None) -> list[Rule]:
        """Every part as rules, by precedence of reason; day: only those in force that day."""
        parts = [*self.rules, *(rule for cap in self.caps for rule in cap.rules(self._campaigns)),
                 *(pause.rule() for pause in self.cool_offs),
                 *(rule for part in self.event_suppressions if (rule := part.rule(catalogue))),
                 *(rule for order in self.orders for rule in order.rules()),
                 *(quiet.rule() for quiet in self.quiet_hours)]  # fmt: skip
        return sorted(
            (rule for rule in parts if day is None or rule.effective.on(day)), key=lambda rule: RANK[rule.reason]
        )

    def counts(self, catalogue: Catalogue) -> list[ContactCount]:
        """The distinct counters that caps and orders need."""
        asked = {count for cap in self.caps for count in cap.counts(catalogue, self._campaigns)}
        asked |= {count for order in self.orders for count in order.counts()}
        return sorted(asked, key=lambda count: count.name)

    def precedents(self) -> list[Precedent]:
        """The distinct precedents that orders need."""
        return sorted({found for order in self.orders for found in order.precedents()}, key=lambda found: found.name)

    def state_fields(self, catalogue: Catalogue) -> pa.Schema:
        """The columns the ledger and the clock must bring: counters, days left, precedents, local time."""
        fields = [*(count.field() for count in self.counts(catalogue)),
                  *(field for pause in self.cool_offs for field in pause.fields(catalogue)),
                  *(field for part in self.event_suppressions for field in part.fields()),
                  *(precedent.field() for precedent in self.precedents()), *CLOCK]  # fmt: skip
        names = [field.name for field in fields]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            raise PolicyError(f"column `{twice}` would be two things; rename a cap, pause, offer or family")
        return pa.schema(fields)

    def check(self, catalogue: Catalogue, columns: pa.Schema, document: Document | None = None) -> None:
        """Raise PolicyError at the first rule that names what does not exist or does not type-check."""
        language = Language(columns, catalogue)
        rules: list[Rule | EventSuppression | Order] = [
            *self.event_suppressions,
            *self.orders,
            *self.lowered(catalogue),
        ]
        for rule in rules:
            try:
                for kind, name, known in _unknown_names(rule, catalogue):
                    near = get_close_matches(name, known, 1)
                    raise ConditionError(f"unknown {kind} `{name}`" + (f": did you mean `{near[0]}`?" if near else ""))
                if isinstance(rule, Rule):
                    language.parse(rule.when)
            except ConditionError as error:
                file, line = (document.file, _line_of(document, rule.id)) if document else ("", 0)
                raise ConditionError(error.what, file=file, line=line, rule=rule.id) from error


def load_policy(path: Path, catalogue: Catalogue | None = None, columns: pa.Schema | None = None) -> ContactPolicy:
    """Read a policy file; with catalogue and columns, check every name and condition as well.

    columns: the feature columns; the state columns of the policy's own caps and pauses are added.
    Raises PolicyError: one line with file, line, rule id and the nearest right name.
    """
    document = read_document(path)
    try:
        policy = ContactPolicy.model_validate(document.value)
    except ValidationError as error:
        raise PolicyError(document.explain(error, ContactPolicy)) from error
    if catalogue is not None and columns is not None:
        policy.check(catalogue, with_state(columns, policy, catalogue), document)
    return policy


def with_state(columns: pa.Schema, policy: ContactPolicy, catalogue: Catalogue) -> pa.Schema:
    """The feature columns and the policy's own state columns; a name that both have is the state's."""
    state = policy.state_fields(catalogue)
    return pa.schema([*(field for field in columns if field.name not in state.names), *state])


def _unknown_names(part: Rule | EventSuppression | Order, catalogue: Catalogue) -> list[tuple[str, str, list[str]]]:
    if isinstance(part, Order):
        return part.unknown_names(catalogue)
    scope = part.scope if isinstance(part, Rule) else Scope(families=part.families)
    return scope.unknown_names(catalogue)


def _line_of(document: Document, rule: str) -> int:
    if isinstance(document.value, dict):
        for section, parts in document.value.items():
            for place, part in enumerate(parts if isinstance(parts, list) else ()):
                if isinstance(part, dict) and part.get("id") == rule:
                    return document.line((section, place, "when") if "when" in part else (section, place))
    return 1
