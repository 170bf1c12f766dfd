"""Trial: a policy held against its cases. Each cell gets the exact set of reasons, or the case fails.

Evaluates only the cells a case speaks of, with the closures, so that hundreds of changed policies
can be tried (tests/rules/test_mutation.py); decision cases go through `decide` itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import product

import numpy as np
import pyarrow as pa

from rules.cases import Case, Cases, DecisionCase, History
from rules.catalogue import Catalogue
from rules.closures import Closure, closure
from rules.column import fact
from rules.decide import decide
from rules.errors import PolicyError
from rules.facts import DAY_MICROS, AnswerFact, ContactFact, SuppressionFact
from rules.language import Language
from rules.line import Line
from rules.policy import ContactPolicy, with_state
from rules.reasons import RANK, UNKNOWN, ReasonCode
from rules.rule import Rule
from rules.state import customer_state
from rules.suppressions import Movement
from rules.terms import Terms
from rules.tree import IsNull, Node, Scalar, atoms, columns_of, fold
from rules.types import CUSTOMERS, scores_schema

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)  # any instant: cases speak of days ago
AT = int(NOW.timestamp()) * 1_000_000
SELF, OTHER = "self", "other"
Row = dict[str, Scalar]


@dataclass(frozen=True)
class Failure:
    """One cell, or one decision, that is not as its case says. rules: who gave the reasons found."""

    case: str
    about: str
    cell: str
    expected: tuple[str, ...]
    found: tuple[str, ...]
    rules: tuple[str, ...]

    @property
    def line(self) -> Line:
        """What was expected and what was found."""
        en = f"case `{self.case}`{f' about `{self.about}`' if self.about else ''}: {self.cell}: "
        en += f"expected {', '.join(self.expected) or 'open'}; found {', '.join(self.found) or 'open'}"
        zh = f"用例 `{self.case}`{f'（关于 `{self.about}`）' if self.about else ''}：{self.cell}："
        zh += f"应为 {'、'.join(self.expected) or '开放'}；实为 {'、'.join(self.found) or '开放'}"
        by = [f"`{rule}`" for rule in self.rules]
        return Line(
            en=en + (f" (by {', '.join(by)})" if by else ""), zh=zh + (f"（依据 {'、'.join(by)}）" if by else "")
        )

    def __str__(self) -> str:
        return self.line.en


class Trial:
    """One policy, one set of cases."""

    def __init__(self, cases: Cases, policy: ContactPolicy, catalogue: Catalogue, columns: pa.Schema) -> None:
        self.cases, self.policy, self.catalogue, self.columns = cases, policy, catalogue, columns
        self.vocabulary = with_state(columns, policy, catalogue)
        self.rules = policy.lowered(catalogue)
        self._conditions: dict[tuple[str, int], Closure] = {}  # by condition and cell
        self._facts_read: dict[tuple[str, str], Scalar] = {}  # by column and text

    def varied(self, policy: ContactPolicy) -> "Trial":
        """The same cases against a changed policy; conditions folded already are not folded again."""
        other = Trial(self.cases, policy, self.catalogue, self.columns)
        other._conditions, other._facts_read = self._conditions, self._facts_read
        return other

    @cached_property
    def _language(self) -> Language:
        return Language(self.vocabulary, self.catalogue)

    @cached_property
    def _governing(self) -> dict[str, list[list[Rule]]]:
        """Direction -> cell -> the rules that govern it."""
        found = {d: [list[Rule]() for _ in range(self.catalogue.n_cells)] for d in ("outbound", "inbound")}
        for rule in self.rules:
            cells = rule.scope.cells(self.catalogue)
            for direction, lists in found.items():
                if rule.scope.direction in ("any", direction):
                    for cell in range(self.catalogue.n_cells):
                        if cells >> cell & 1:
                            lists[cell].append(rule)
        return found

    def check_baseline(self) -> None:
        """PolicyError where a rule reads a column that the baseline does not state."""
        row = self.row(History(), {})
        for rule in self.rules:
            for name in sorted(set[str]().union(*(columns_of(self._folded(rule, cell)) for cell in self._cells(rule)))):
                if name not in row:
                    raise PolicyError(
                        f"baseline lacks `{name}`, which the rule reads; add it to the cases", rule=rule.id
                    )

    def failures(self, first: str = "") -> Iterator[Failure]:
        """Every cell that is not as its case says; cases about part `first` are tried first."""
        for case in sorted(self.cases.cases, key=lambda case: case.about != first) if first else self.cases.cases:
            row = self.row(case.history, case.customer)
            for direction, cell in product(case.directions, case.cells(self.catalogue)):
                found = self.reasons(row, cell, direction)
                if set(found) != set(case.expect):
                    yield self._failure(case, direction, cell, found)

    def _failure(self, case: Case, direction: str, cell: int, found: dict[ReasonCode, list[str]]) -> Failure:
        offer, channel = divmod(cell, len(self.catalogue.channels))
        place = f"{self.catalogue.offers[offer].id} by {self.catalogue.channels[channel].id}, {direction}"
        wrong = [rule for code, rules in found.items() if code not in case.expect for rule in rules]
        return Failure(case.id, case.about, place, _slugs(case.expect), _slugs(found), tuple(dict.fromkeys(wrong)))

    def reasons(self, row: Row, cell: int, direction: str) -> dict[ReasonCode, list[str]]:
        """Every reason that closes the cell, each with the parts of the policy behind it."""
        found: dict[ReasonCode, list[str]] = defaultdict(list)
        for rule in self._governing[direction][cell]:
            truth = self._condition(rule, cell)(row)
            if truth is not False:
                found[rule.reason if truth else UNKNOWN[rule.layer]].append(rule.id)
        offer, channel = divmod(cell, len(self.catalogue.channels))
        if self.catalogue.channels[channel].id not in self.catalogue.offers[offer].channels:
            found[ReasonCode.OFFER_NOT_ON_CHANNEL].append("catalogue")
        return found

    def gaps(self) -> list[Line]:
        """What no case shows: a part that never fires, never just does not, is never unknown."""
        seen: dict[str, set[bool | None]] = defaultdict(set)
        for case in self.cases.cases:
            row = self.row(case.history, case.customer)
            for direction, cell in product(case.directions, case.cells(self.catalogue)):
                for rule in self._governing[direction][cell]:
                    if rule.id == case.about:
                        seen[rule.id].add(self._condition(rule, cell)(row))
        lines: list[Line] = []
        for rule in {rule.id: rule for rule in self.rules}.values():
            wanted: dict[bool | None, tuple[str, str]] = {
                True: ("in which it fires", "触发"),
                False: ("in which it just does not fire", "恰好不触发"),
            }
            if not all(isinstance(atom, IsNull) for atom in atoms(self._language.parse(rule.when))):
                wanted[None] = ("in which it is unknown", "结果未知")
            lines += [Line(en=f"`{rule.id}` has no case {en}", zh=f"`{rule.id}` 没有使其{zh}的用例")
                      for truth, (en, zh) in wanted.items() if truth not in seen[rule.id]]  # fmt: skip
        return lines

    def row(self, history: History, changes: dict[str, str]) -> Row:
        """The customer of a case: ledger columns from the history, then the baseline, then what differs."""
        state: Row = dict(customer_state(self.policy, self.catalogue, SELF, (AT, AT), *self._facts(history)))
        for stated in (self.cases.baseline, changes):
            for name, text in stated.items():
                if (name, text) not in self._facts_read and name in self.vocabulary.names:
                    self._facts_read[name, text] = fact(self.vocabulary.field(name), text)
                state[name] = self._facts_read.get((name, text))
        return state

    def _facts(self, history: History) -> tuple[list[ContactFact], list[AnswerFact], list[SuppressionFact]]:
        families = {offer.id: offer.family for offer in self.catalogue.offers}
        contacts: list[ContactFact] = []
        answers = [AnswerFact(a.kind, _ago(a.days_ago), families[a.offer], a.offer, a.channel)
                   for a in history.answers for _ in range(a.times)]  # fmt: skip
        for past in history.contacts:
            for _ in range(past.times):
                name, at = f"c{len(contacts)}", _ago(past.days_ago)
                contacts.append(ContactFact(SELF if past.member == SELF else OTHER, past.channel, families[past.offer], at, at,
                                            past.offer, contact_id=name, sent=past.days_ago >= 0))  # fmt: skip
                if past.reaction:
                    said = at + int(past.reaction_after_days * DAY_MICROS)
                    answers.append(
                        AnswerFact(past.reaction, said, families[past.offer], past.offer, past.channel, name)
                    )
        return contacts, answers, self._stretches(history)

    def _stretches(self, history: History) -> list[SuppressionFact]:
        found: list[SuppressionFact] = []
        for part in self.policy.event_suppressions:
            for currency in part.currencies:
                moved = [Movement(_ago(m.days_ago), _ago(m.days_ago), f"m{place}", m.out, m.in_, m.balance)
                         for place, m in enumerate(history.movements) if m.currency == currency]  # fmt: skip
                found += [
                    SuppressionFact(part.id, currency, o.opened_at, o.ends_at, o.closed_at)
                    for o in part.openings(moved)
                ]
        return found

    def _cells(self, rule: Rule) -> list[int]:
        cells = rule.scope.cells(self.catalogue)
        return [cell for cell in range(self.catalogue.n_cells) if cells >> cell & 1]

    def _folded(self, rule: Rule, cell: int) -> Node:
        return fold(self._language.parse(rule.when), self._language.cells[cell])

    def _condition(self, rule: Rule, cell: int) -> Closure:
        key = (rule.when, cell)
        if (found := self._conditions.get(key)) is None:
            found = self._conditions[key] = closure(self._folded(rule, cell))
        return found

    def decision_failures(self, day: date | None = None) -> Iterator[Failure]:
        """Every decision case that is decided otherwise than it says."""
        terms = Terms(self.catalogue, self.policy, self.columns, day, secret=b"cases")
        for case in self.cases.decisions:
            [chosen] = decide(self._customer(case, terms), terms, lambda *_, case=case: self._scores(case)).to_pylist()
            found = _said(chosen["offer_id"], chosen["channel"], map(ReasonCode, chosen["reasons"]))
            wanted = _said(case.expect.offer, case.expect.channel, case.expect.silent)
            if found != wanted:
                yield Failure(case.id, "", f"decision, {case.direction}", wanted, found, ())

    def _customer(self, case: DecisionCase, terms: Terms) -> pa.RecordBatch:
        asked = sum(1 << self.catalogue.channel_index[name] for name in case.channels) or None
        row = self.row(case.history, case.customer) | {
            "customer_id": SELF, "unit_id": SELF, "as_of": NOW, "local_day": NOW.date(), "direction": case.direction,
            "channels": asked, "send_after": NOW, "send_before": NOW + timedelta(hours=1), "time_zone": None}  # fmt: skip
        schema = pa.schema([*CUSTOMERS, *terms.state_schema])
        return pa.RecordBatch.from_pylist([{name: row[name] for name in schema.names}], schema=schema)

    def _scores(self, case: DecisionCase) -> pa.RecordBatch:
        offers, channels, said = self.catalogue.offers, self.catalogue.channels, self.cases.scores
        row = {"p_interest": [case.interest.get(o.id, said.interest) for o in offers], "p_organic": np.zeros(len(offers)).tolist(),
               "p_reach": [case.reach.get(c.id, said.reach) for c in channels], "p_harm": [said.harm] * len(channels),
               "p_churn": said.churn, "lifetime_value_minor": said.lifetime_value_minor}  # fmt: skip
        return pa.RecordBatch.from_pylist([row], schema=scores_schema(len(offers), len(channels)))


def _ago(days: float) -> int:
    return AT - round(days * DAY_MICROS)


def _said(offer: str | None, channel: str | None, reasons: Iterable[ReasonCode]) -> tuple[str, ...]:
    return (offer, channel) if offer and channel else _slugs(reasons)


def _slugs(codes: Iterable[ReasonCode]) -> tuple[str, ...]:
    return tuple(code.slug for code in sorted(codes, key=lambda code: RANK[code]))
