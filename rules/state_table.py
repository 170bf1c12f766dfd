"""The ledger's state columns of many customers at once: what lists read.

The same columns as `rules.state.customer_state`, in NumPy: nothing here loops over customers or
contacts. Facts are joined to customers as index arrays; instants are int64 micros UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rules.catalogue import Catalogue
from rules.cooloffs import CoolOff
from rules.facts import COUNTING_STATES, DAY_MICROS, UNANSWERED
from rules.joins import deepest, flags, numbers, pairs, whole
from rules.order import Precedent
from rules.policy import ContactPolicy
from rules.suppressions import EventSuppression

_ABOUT = {"family": "family", "offer": "offer_id", "channel": "channel"}


def contact_state(policy: ContactPolicy, catalogue: Catalogue, contacts: pa.Table, outcomes: pa.Table,
                  suppressions: pa.Table, customers: pa.Table) -> pa.Table:  # fmt: skip
    """Every ledger column for every row of customers, in its order.

    contacts, outcomes, suppressions: the ledger's tables (instants int64 micros; outcomes with the
    columns of their contact). customers: customer_id, unit_id, send_after, send_before (timestamps).
    """
    facts = _Facts(contacts, outcomes, suppressions, customers)
    columns = _counters(policy, catalogue, facts)
    for pause in policy.cool_offs:
        columns |= _pause(pause, catalogue, facts)
    for part in policy.event_suppressions:
        columns |= _days_left(part, facts)
    for precedent in policy.precedents():
        columns[precedent.name] = _times(precedent, facts)
    return pa.table(columns) if columns else pa.table({"_": np.zeros(facts.n)}).select([])


@dataclass(frozen=True)
class _Facts:
    """The tables, cut to what concerns these customers, and the joins between them."""

    all_contacts: pa.Table
    all_outcomes: pa.Table
    all_suppressions: pa.Table
    customers: pa.Table

    @property
    def n(self) -> int:
        return self.customers.num_rows

    @cached_property
    def window(self) -> tuple[np.ndarray, np.ndarray]:
        """(send_after, send_before), (n,) each."""
        after, before = (whole(self.customers, name) for name in ("send_after", "send_before"))
        return after, before

    @cached_property
    def contacts(self) -> pa.Table:
        """Outbound marketing contacts of the units that count, with starts and ends."""
        table = _of(self.all_contacts, "unit_id", self.customers)
        counts = pc.and_(pc.and_(pc.is_in(table.column("state"), pa.array(COUNTING_STATES)),
                                 pc.equal(table.column("purpose"), "marketing")),
                         pc.equal(table.column("direction"), "outbound"))  # fmt: skip
        kept = table.filter(counts)
        sent, decided = kept.column("sent_at"), kept.column("decided_at")
        for name, column in (("starts", "send_after"), ("ends", "send_before")):
            kept = kept.append_column(name, pc.coalesce(sent, kept.column(column), decided))
        return kept.combine_chunks()

    @cached_property
    def sent(self) -> pa.Table:
        """Those of the contacts that went out, at starts."""
        went = pc.and_(pc.equal(self.contacts.column("state"), "sent"), pc.is_valid(self.contacts.column("sent_at")))
        return self.contacts.filter(went).combine_chunks()

    @cached_property
    def outcomes(self) -> pa.Table:
        return _of(self.all_outcomes, "customer_id", self.customers).combine_chunks()

    @cached_property
    def suppressions(self) -> pa.Table:
        return _of(self.all_suppressions, "customer_id", self.customers).combine_chunks()

    @cached_property
    def sent_of(self) -> tuple[np.ndarray, np.ndarray]:
        """(customer row, sent row) pairs."""
        return pairs(self.customers.column("customer_id"), self.sent.column("customer_id"))

    @cached_property
    def outcome_of(self) -> tuple[np.ndarray, np.ndarray]:
        """(customer row, outcome row) pairs."""
        return pairs(self.customers.column("customer_id"), self.outcomes.column("customer_id"))

    def ignored(self, after_days: int) -> tuple[np.ndarray, np.ndarray]:
        """(whether, from when) each sent contact is ignored: rules.facts.ignored_at."""
        deadline = whole(self.sent, "starts") + after_days * DAY_MICROS
        place = pc.index_in(self.outcomes.column("contact_id"), value_set=self.sent.column("contact_id"))
        contact = numbers(pc.fill_null(place, -1))
        at, kind = whole(self.outcomes, "at"), self.outcomes.column("kind")
        known = contact >= 0
        silent = known & flags(pc.equal(kind, "no_response"))
        reacted = known & ~flags(pc.is_in(kind, pa.array(UNANSWERED)))
        reacted[known] &= at[known] <= deadline[contact[known]]
        ignored, since = np.ones(len(deadline), dtype=bool), deadline.copy()
        ignored[contact[reacted]] = False
        np.minimum.at(since, contact[silent], at[silent])
        return ignored, since


def _counters(policy: ContactPolicy, catalogue: Catalogue, facts: _Facts) -> dict[str, np.ndarray]:
    row, contact = pairs(facts.customers.column("unit_id"), facts.contacts.column("unit_id"))
    mine = facts.customers.column("customer_id").take(pa.array(row))
    own = flags(pc.equal(mine, facts.contacts.column("customer_id").take(pa.array(contact))))
    starts, ends = whole(facts.contacts, "starts")[contact], whole(facts.contacts, "ends")[contact]
    after, before = (side[row] for side in facts.window)
    counts = policy.counts(catalogue)
    named = {(name, value) for count in counts for name, value in _named(count.channel, count.family, count.offer, count.campaign)}  # fmt: skip
    about = {(name, value): flags(pc.equal(facts.contacts.column(name), value))[contact] for name, value in named}
    columns: dict[str, np.ndarray] = {}
    for count in counts:
        from_, to, begin = count.shifts
        low, high = np.maximum(starts + from_, after + begin), np.minimum(ends + to, before)
        counted = low <= high if count.unit else (low <= high) & own
        for key in _named(count.channel, count.family, count.offer, count.campaign):
            counted &= about[key]
        columns[count.name] = deepest(row[counted], low[counted], high[counted], facts.n)
    return columns


def _named(channel: str | None, family: str | None, offer: str | None, campaign: str | None) -> list[tuple[str, str]]:
    asked = (("channel", channel), ("family", family), ("offer_id", offer), ("campaign_id", campaign))
    return [(name, value) for name, value in asked if value is not None]


def _pause(pause: CoolOff, catalogue: Catalogue, facts: _Facts) -> dict[str, np.ndarray]:
    """Days left of one cool-off about each of its things, CoolOff.until for all groups at once."""
    abouts, (after, _) = pause.abouts(catalogue), facts.window
    row, answer = facts.outcome_of
    kinds = flags(pc.is_in(facts.outcomes.column("kind"), pa.array(pause.outcomes, pa.string())))[answer]
    causes = [(row[kinds], _codes(facts.outcomes, pause, abouts)[answer[kinds]], whole(facts.outcomes, "at")[answer[kinds]])]  # fmt: skip
    if "ignored" in pause.outcomes:
        ignored, since = facts.ignored(pause.ignored_after_days)
        row, contact = facts.sent_of
        row, contact = row[ignored[contact]], contact[ignored[contact]]
        causes.append((row, _codes(facts.sent, pause, abouts)[contact], since[contact]))
    row, code, at = (np.concatenate([part[k] for part in causes]) for k in range(3))
    heard = (code >= 0) & (at <= after[row])
    group, at = row[heard] * len(abouts) + code[heard], at[heard]
    order = np.lexsort((at, group))
    group, at = group[order], at[order]
    begun, before = np.ones(len(at), dtype=bool), pause.count - 1
    if before:
        begun[:before] = False
        begun[before:] = (group[before:] == group[:-before]) & (at[:-before] > at[before:] - pause.within_days * DAY_MICROS)  # fmt: skip
    until = np.zeros(facts.n * len(abouts), np.int64)
    until[group[begun]] = at[begun] + pause.lasts_days * DAY_MICROS  # ascending: the last one stays
    left = np.maximum(until.reshape(facts.n, len(abouts)) - after[:, None], 0) / DAY_MICROS
    return {pause.column(about): left[:, place] for place, about in enumerate(abouts)}


def _codes(table: pa.Table, pause: CoolOff, abouts: Sequence[str]) -> np.ndarray:
    """What each fact is about, as its place in abouts; -1 none of them."""
    if pause.about == "all":
        return np.zeros(table.num_rows, np.int64)
    found = pc.index_in(table.column(_ABOUT[pause.about]), value_set=pa.array(abouts, pa.string()))
    return numbers(pc.fill_null(found, -1))


def _days_left(part: EventSuppression, facts: _Facts) -> dict[str, np.ndarray]:
    """Days left of one event suppression in each of its currencies."""
    row, stretch = pairs(facts.customers.column("customer_id"), facts.suppressions.column("customer_id"))
    mine = flags(pc.equal(facts.suppressions.column("rule_id"), part.id))[stretch]
    row, stretch = row[mine], stretch[mine]
    opened, ends = (whole(facts.suppressions, name)[stretch] for name in ("opened_at", "ends_at"))
    closed = numbers(pc.coalesce(facts.suppressions.column("closed_at").cast(pa.int64()), pa.scalar(2**62)))[stretch]
    at = facts.window[0][row]
    if part.lengthened:
        ends = ends + _longer(part, facts, row, opened) * DAY_MICROS
    until = np.where(opened <= at, np.minimum(ends, closed), 0)
    # What ends early is open until then, but its days left are those to its own end.
    left = np.where(until > at, ends - at, 0) / DAY_MICROS
    columns: dict[str, np.ndarray] = {}
    for currency in part.currencies:
        here = flags(pc.equal(facts.suppressions.column("currency"), currency))[stretch]
        columns[part.column(currency)] = np.zeros(facts.n)
        np.maximum.at(columns[part.column(currency)], row[here], left[here])
    return columns


def _longer(part: EventSuppression, facts: _Facts, row: np.ndarray, opened: np.ndarray) -> np.ndarray:
    """Days that ignored contacts add to each stretch, as known at the row's send_after."""
    longer = part.lengthened
    assert longer  # asked only where there is one
    ignored, since = facts.ignored(longer.after_days)
    about = flags(pc.is_in(facts.sent.column("family"), pa.array(part.families, pa.string())))
    wanted = np.flatnonzero(ignored & about)
    ids = facts.customers.column("customer_id")
    stretch, place = pairs(ids.take(pa.array(row)), facts.sent.column("customer_id").take(pa.array(wanted)))
    sent, known = whole(facts.sent, "starts")[wanted][place], since[wanted][place] <= facts.window[0][row][stretch]
    first = opened[stretch] - longer.within_days * DAY_MICROS
    counted = known & (first < sent) & (sent <= opened[stretch])
    number = np.bincount(stretch[counted], minlength=len(row))
    return np.minimum(longer.at_most_days, number // longer.ignored * longer.by_days)


def _times(asked: Precedent, facts: _Facts) -> np.ndarray:
    """(n,) how often the precedent is there."""
    table, (row, fact) = (facts.sent, facts.sent_of) if asked.once == "sent" else (facts.outcomes, facts.outcome_of)
    wanted = np.ones(table.num_rows, dtype=bool) if asked.once == "sent" else flags(pc.equal(table.column("kind"), "accepted"))  # fmt: skip
    for name, value in _named(None, asked.family, asked.offer, None):
        wanted &= flags(pc.equal(table.column(name), value))
    at, (after, before) = whole(table, "starts" if asked.once == "sent" else "at")[fact], facts.window
    newest, oldest = after - asked.at_least_days * DAY_MICROS, before - asked.within_days * DAY_MICROS
    counted = wanted[fact] & (at <= newest[row]) & (at > oldest[row])
    return np.bincount(row[counted], minlength=facts.n).astype(np.float64)


def _of(table: pa.Table, name: str, customers: pa.Table) -> pa.Table:
    return table.filter(pc.is_in(table.column(name), value_set=pc.unique(customers.column(name))))
