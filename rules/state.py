"""The ledger's state columns: counters, days left of pauses, days left of suppressions.

`customer_state` is the plain reading, for one customer, used online; `contact_state` is the same for
a whole table, used by lists. A test holds the two together. Instants are micros UTC.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.caps import ContactCount
from rules.catalogue import Catalogue
from rules.cooloffs import DAY_MICROS, CoolOff
from rules.policy import ContactPolicy
from rules.suppressions import days_left

COUNTING_STATES = ("reserved", "claimed", "sent")


class ContactFact(NamedTuple):
    """One outbound marketing contact that counts, sent somewhere in [starts, ends]."""

    customer_id: str
    channel: str
    family: str
    starts: int
    ends: int


class AnswerFact(NamedTuple):
    """One outcome of a contact of the customer, with what the contact was about."""

    kind: str
    at: int
    family: str
    offer: str
    channel: str


class SuppressionFact(NamedTuple):
    """One stretch of an event suppression of the customer."""

    rule_id: str
    currency: str
    opened_at: int
    ends_at: int
    closed_at: int | None


def customer_state(policy: ContactPolicy, catalogue: Catalogue, customer_id: str, window: tuple[int, int],
                   contacts: Iterable[ContactFact], answers: Iterable[AnswerFact],
                   suppressions: Iterable[SuppressionFact]) -> dict[str, float]:  # fmt: skip
    """Every ledger column of one customer for a contact sent in window (send_after, send_before).

    contacts: of the whole unit; answers and suppressions: of the customer.
    """
    contacts, answers, suppressions = list(contacts), list(answers), list(suppressions)
    state = {count.name: float(sum(_counts(count, contact, customer_id, window) for contact in contacts))
             for count in policy.counts(catalogue)}  # fmt: skip
    for pause in policy.cool_offs:
        for about in pause.abouts(catalogue):
            until = pause.until(
                a.at for a in answers if a.kind in pause.outcomes and a.at <= window[0] and _about(pause, a) == about
            )
            state[pause.column(about)] = max(0, (until or 0) - window[0]) / DAY_MICROS
    for part in policy.event_suppressions:
        for currency in part.currencies:
            stretches = [
                (s.opened_at, s.ends_at, s.closed_at)
                for s in suppressions
                if (s.rule_id, s.currency) == (part.id, currency)
            ]
            state[part.column(currency)] = days_left(stretches, window[0])
    return state


def _counts(count: ContactCount, contact: ContactFact, customer_id: str, window: tuple[int, int]) -> bool:
    reach = count.window_days * DAY_MICROS
    return ((count.unit or contact.customer_id == customer_id)
            and count.channel in (None, contact.channel) and count.family in (None, contact.family)
            and contact.starts < window[1] + reach and contact.ends > window[0] - reach)  # fmt: skip


def _about(pause: CoolOff, answer: AnswerFact) -> str:
    return {"family": answer.family, "offer": answer.offer, "channel": answer.channel, "all": "all"}[pause.about]


def contact_state(policy: ContactPolicy, catalogue: Catalogue, contacts: pa.Table, outcomes: pa.Table,
                  suppressions: pa.Table, customers: pa.Table) -> pa.Table:  # fmt: skip
    """The same columns for every row of customers, in its order.

    contacts, outcomes, suppressions: the ledger's tables (instants int64 micros; outcomes with the
    columns of their contact). customers: customer_id, unit_id, send_after, send_before (timestamps).
    """
    after, before = (
        np.asarray(customers.column(name).cast(pa.int64()).combine_chunks()) for name in ("send_after", "send_before")
    )
    columns: dict[str, np.ndarray] = {}
    rows = _counting(contacts)
    owner, contact = _pairs(customers.column("unit_id"), rows["unit"])
    own = np.asarray(pc.equal(_at(customers.column("customer_id"), owner), _at(rows["customer"], contact)), dtype=bool)
    starts, ends = rows["starts"][contact], rows["ends"][contact]
    channel, family = (
        np.asarray(_at(rows[name], contact).fill_null(""), dtype=object) for name in ("channel", "family")
    )
    for count in policy.counts(catalogue):
        reach = count.window_days * DAY_MICROS
        hit = (starts < before[owner] + reach) & (ends > after[owner] - reach)
        hit &= True if count.unit else own
        hit &= True if count.channel is None else channel == count.channel
        hit &= True if count.family is None else family == count.family
        columns[count.name] = np.bincount(owner[hit], minlength=len(after)).astype(float)
    columns |= _pauses(policy, catalogue, outcomes, customers.column("customer_id"), after)
    columns |= _suppressions(policy, suppressions, customers.column("customer_id"), after)
    return pa.table(columns)


def _counting(contacts: pa.Table) -> dict[str, pa.Array | np.ndarray]:
    counts = pc.and_(pc.and_(pc.is_in(contacts.column("state"), pa.array(COUNTING_STATES)),
                             pc.equal(contacts.column("purpose"), "marketing")),
                     pc.equal(contacts.column("direction"), "outbound"))  # fmt: skip
    kept = contacts.filter(counts).combine_chunks()
    sent = kept.column("sent_at")
    starts, ends = (
        pc.coalesce(sent, kept.column(name), kept.column("decided_at")) for name in ("send_after", "send_before")
    )
    return {"unit": kept.column("unit_id"), "customer": kept.column("customer_id"), "channel": kept.column("channel"),
            "family": kept.column("family"), "starts": np.asarray(starts), "ends": np.asarray(ends)}  # fmt: skip


def _pairs(left: pa.ChunkedArray, right: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Every (row of left, row of right) with equal text, as two index arrays."""
    names = pc.unique(left)
    mine = np.asarray(pc.index_in(left, value_set=names).fill_null(-1))
    theirs = np.asarray(pc.index_in(right, value_set=names).fill_null(-1))
    order = np.argsort(theirs, kind="stable")
    begin, end = np.searchsorted(theirs[order], mine, "left"), np.searchsorted(theirs[order], mine, "right")
    lengths = end - begin
    rows = np.repeat(np.arange(len(mine)), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, order[np.repeat(begin, lengths) + within]


def _at(column: pa.ChunkedArray | pa.Array, index: np.ndarray) -> pa.Array:
    taken = column.take(pa.array(index))
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _pauses(policy: ContactPolicy, catalogue: Catalogue, outcomes: pa.Table,
            customer: pa.ChunkedArray, after: np.ndarray) -> dict[str, np.ndarray]:  # fmt: skip
    columns = {
        pause.column(about): np.zeros(len(after)) for pause in policy.cool_offs for about in pause.abouts(catalogue)
    }
    kinds = sorted({kind for pause in policy.cool_offs for kind in pause.outcomes})
    wanted = outcomes.filter(pc.is_in(outcomes.column("kind"), pa.array(kinds, pa.string())))
    answers: dict[int, list[AnswerFact]] = defaultdict(list)
    owner, answer = _pairs(customer, wanted.column("customer_id"))
    facts = (_at(wanted.column(name), answer).to_pylist() for name in ("kind", "at", "family", "offer_id", "channel"))
    for row, kind, at, family, offer, channel in zip(owner.tolist(), *facts, strict=True):
        answers[row].append(AnswerFact(kind, at, family or "", offer or "", channel))
    for row, found in answers.items():
        for pause in policy.cool_offs:
            _pause(pause, found, int(after[row]), row, columns)
    return columns


def _pause(pause: CoolOff, answers: Sequence[AnswerFact], at: int, row: int, columns: dict[str, np.ndarray]) -> None:
    causes: dict[str, list[int]] = defaultdict(list)
    for answer in answers:
        if answer.kind in pause.outcomes and answer.at <= at:
            causes[_about(pause, answer)].append(answer.at)
    for about, times in causes.items():
        if (name := pause.column(about)) in columns:
            columns[name][row] = max(0, (pause.until(times) or 0) - at) / DAY_MICROS


def _suppressions(
    policy: ContactPolicy, suppressions: pa.Table, customer: pa.ChunkedArray, after: np.ndarray
) -> dict[str, np.ndarray]:
    columns = {
        part.column(currency): np.zeros(len(after))
        for part in policy.event_suppressions
        for currency in part.currencies
    }
    by_id = {
        (part.id, currency): part.column(currency) for part in policy.event_suppressions for currency in part.currencies
    }
    owner, stretch = _pairs(customer, suppressions.column("customer_id"))
    names = ("rule_id", "currency", "opened_at", "ends_at", "closed_at")
    facts = zip(*(_at(suppressions.column(name), stretch).to_pylist() for name in names), strict=True)
    for row, (rule, currency, opened_at, ends_at, closed_at) in zip(owner.tolist(), facts, strict=True):
        if (name := by_id.get((rule, currency))) is not None:
            left = days_left([(opened_at, ends_at, closed_at)], int(after[row]))
            columns[name][row] = max(columns[name][row], left)
    return columns
