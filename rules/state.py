"""The ledger's state columns of one customer: counters, days left of pauses and suppressions, precedents.

`customer_state` is the online reading, in plain Python; `rules.state_table.contact_state` is the
same for a whole table. tests/state_oracle.py is the slow truth both are compared with.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rules.caps import ContactCount, most
from rules.catalogue import Catalogue
from rules.cooloffs import CoolOff
from rules.facts import COUNTING_STATES, DAY_MICROS, AnswerFact, ContactFact, SuppressionFact, ignored_at
from rules.order import Precedent
from rules.policy import ContactPolicy
from rules.state_table import contact_state
from rules.suppressions import EventSuppression, Lengthened, days_left

_Dimensions = tuple[bool, str, str, str, str]  # own, channel, family, offer, campaign
_Shifts = tuple[int, int, int]


@dataclass(frozen=True)
class _Plan:
    """What a policy asks of the ledger, looked up by what a fact says. zeros: every column at rest."""

    zeros: dict[str, float]
    counts: tuple[ContactCount, ...]
    pauses: dict[str, list[CoolOff]]  # by kind of outcome
    suppressions: dict[tuple[str, str], tuple[EventSuppression, str]]  # by (rule id, currency)
    precedents: tuple[Precedent, ...]
    matching: dict[_Dimensions, list[tuple[str, _Shifts]]] = field(default_factory=dict)

    @cached_property
    def reach(self) -> int:
        """A contact that ended so long before the window (negative micros) is counted by none; 0 without counters."""
        return min((begin - to for _, to, begin in (count.shifts for count in self.counts)), default=0)

    @cached_property
    def look_back(self) -> int:
        """No fact older than this (micros, before the window) moves a column, but those before an opening."""
        pauses = {pause.id: pause for listed in self.pauses.values() for pause in listed}.values()
        longest = [part.lengthened for part, _ in self.suppressions.values() if part.lengthened]
        days = [p.lasts_days + p.within_days + p.ignored_after_days for p in pauses]
        days += [longer.at_most_days for longer in longest]
        return max([-self.reach, *((each + 1) * DAY_MICROS for each in days), *(
            (each.within_days + 1) * DAY_MICROS for each in self.precedents)])  # fmt: skip

    @cached_property
    def before_opening(self) -> int:
        """What was sent so long (micros) before an event suppression opened may lengthen it."""
        longest = [part.lengthened for part, _ in self.suppressions.values() if part.lengthened]
        return max(((each.within_days + each.after_days + 1) * DAY_MICROS for each in longest), default=0)

    def counters(self, own: bool, contact: ContactFact) -> list[tuple[str, _Shifts]]:
        """The counters that count this contact, with their shifts."""
        key = (own, contact.channel, contact.family, contact.offer, contact.campaign)
        if (found := self.matching.get(key)) is None:
            found = [(c.name, c.shifts) for c in self.counts
                     if (c.unit or own) and c.channel in (None, contact.channel) and c.family in (None, contact.family)
                     and c.offer in (None, contact.offer) and c.campaign in (None, contact.campaign)]  # fmt: skip
            self.matching[key] = found
        return found


_PLANS: dict[tuple[object, ...], _Plan] = {}


def _plan(policy: ContactPolicy, catalogue: Catalogue) -> _Plan:
    """The plan of a policy, made once per content."""
    key = (policy.revision, policy.campaigns, catalogue.revision)
    if (plan := _PLANS.get(key)) is None:
        counts, precedents = policy.counts(catalogue), policy.precedents()
        pauses: dict[str, list[CoolOff]] = defaultdict(list)
        for pause in policy.cool_offs:
            for kind in pause.outcomes:
                pauses[kind].append(pause)
        names = [*(c.name for c in counts), *(p.column(about) for p in policy.cool_offs for about in p.abouts(catalogue)),
                 *(part.column(c) for part in policy.event_suppressions for c in part.currencies), *(p.name for p in precedents)]  # fmt: skip
        plan = _Plan(dict.fromkeys(names, 0.0), tuple(counts), dict(pauses),
                     {(part.id, c): (part, part.column(c)) for part in policy.event_suppressions for c in part.currencies},
                     tuple(precedents))  # fmt: skip
        if len(_PLANS) >= 32:
            _PLANS.clear()
        _PLANS[key] = plan
    return plan


def look_back(policy: ContactPolicy, catalogue: Catalogue, after: int, openings: Iterable[int] = ()) -> int:
    """The instant (micros) from which on `customer_state` of a window that begins at `after` needs facts.

    openings: when the suppressions it is given were opened.
    """
    plan = _plan(policy, catalogue)
    return min([after - plan.look_back, *(opened - plan.before_opening for opened in openings)])


def customer_state(policy: ContactPolicy, catalogue: Catalogue, customer_id: str, window: tuple[int, int],
                   contacts: Iterable[ContactFact], answers: Iterable[AnswerFact],
                   suppressions: Iterable[SuppressionFact]) -> dict[str, float]:  # fmt: skip
    """Every ledger column of one customer for a contact sent in window (send_after, send_before).

    contacts: of the whole unit; answers and suppressions: of the customer.
    """
    plan = _plan(policy, catalogue)
    state = plan.zeros.copy()
    contacts, answers = list(contacts), list(answers)
    own = [contact.customer_id == customer_id for contact in contacts]
    spans: dict[str, list[tuple[int, int]]] = {}
    after, before = window
    oldest = after + plan.reach
    for mine, contact in zip(own, contacts, strict=True):
        if contact.ends < oldest:
            continue  # most of a history; the test below would say so of every counter
        for name, (from_, to, begin) in plan.counters(mine, contact):
            low, high = max(contact.starts + from_, after + begin), min(contact.ends + to, before)
            if low <= high:
                spans.setdefault(name, []).append((low, high))
    for name, placed in spans.items():
        state[name] = float(most(placed))
    sent = [contact for mine, contact in zip(own, contacts, strict=True) if mine and contact.sent]
    _pauses(plan, state, after, sent, answers)
    for stretch in suppressions:
        if (asked := plan.suppressions.get((stretch.rule_id, stretch.currency))) is not None:
            part, name = asked
            ends_at = stretch.ends_at
            if part.lengthened:
                ends_at += _longer(part.lengthened, part.families, stretch.opened_at, after, sent, answers) * DAY_MICROS
            state[name] = max(state[name], days_left([(stretch.opened_at, ends_at, stretch.closed_at)], after))
    for precedent in plan.precedents:
        state[precedent.name] = float(_times(precedent, window, sent, answers))
    return state


def _pauses(plan: _Plan, state: dict[str, float], at: int, sent: Sequence[ContactFact], answers: Sequence[AnswerFact]) -> None:  # fmt: skip
    causes: dict[str, tuple[CoolOff, list[int]]] = {}
    for answer in answers:
        if answer.at <= at:
            for pause in plan.pauses.get(answer.kind, ()):
                causes.setdefault(pause.column(_about(pause, answer)), (pause, []))[1].append(answer.at)
    for pause in plan.pauses.get("ignored", ()):
        for contact, since in _ignored(sent, pause.ignored_after_days, answers):
            if since <= at:
                causes.setdefault(pause.column(_about(pause, contact)), (pause, []))[1].append(since)
    for name, (pause, times) in causes.items():
        if name in state and (until := pause.until(times)) is not None:
            state[name] = max(0, until - at) / DAY_MICROS


def _about(pause: CoolOff, fact: AnswerFact | ContactFact) -> str:
    return "all" if pause.about == "all" else str(getattr(fact, pause.about))


def _ignored(sent: Sequence[ContactFact], after_days: int, answers: Sequence[AnswerFact]) -> list[tuple[ContactFact, int]]:  # fmt: skip
    """(contact, instant) of every sent contact that is or will be ignored."""
    said: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for answer in answers:
        said[answer.contact_id].append((answer.kind, answer.at))
    found = ((contact, ignored_at(contact.starts, after_days, said.get(contact.contact_id, ()))) for contact in sent)
    return [(contact, since) for contact, since in found if since is not None]


def _longer(longer: Lengthened, families: tuple[str, ...], opened_at: int, at: int, sent: Sequence[ContactFact],
            answers: Sequence[AnswerFact]) -> int:  # fmt: skip
    """Days that ignored contacts add to a stretch, as known at `at`."""
    since = opened_at - longer.within_days * DAY_MICROS
    before = [contact for contact in sent if contact.family in families and since < contact.starts <= opened_at]
    return longer.days(sum(ignored <= at for _, ignored in _ignored(before, longer.after_days, answers)))


def _times(asked: Precedent, window: tuple[int, int], sent: Sequence[ContactFact], answers: Sequence[AnswerFact]) -> int:  # fmt: skip
    newest, oldest = asked.bounds(*window)
    facts = ([(c.starts, c) for c in sent] if asked.once == "sent"
             else [(a.at, a) for a in answers if a.kind == "accepted"])  # fmt: skip
    return sum(oldest < at <= newest and asked.family in (None, fact.family) and asked.offer in (None, fact.offer)
               for at, fact in facts)  # fmt: skip


__all__ = [
    "COUNTING_STATES",
    "AnswerFact",
    "ContactFact",
    "SuppressionFact",
    "contact_state",
    "customer_state",
    "look_back",
]
