"""The contact history of a block: contacts, their outcomes, and the probabilities behind them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from features.tables import OUTCOMES
from simulation.columns import (
    blank,
    customer_ids,
    ids,
    instants,
    rank_within,
    table_of,
    words,
)
from simulation.months import Month
from simulation.people import People
from simulation.world import CHANNEL_IDS, OFFER_IDS, Flags, Floats, Ints

OUTCOME: Final = {kind: code for code, kind in enumerate(OUTCOMES)}
PURPOSES: Final = ("marketing", "service")
DIRECTIONS: Final = ("outbound", "inbound")


@dataclass(frozen=True)
class Contacts:
    """Some contacts, a row each: (n,). offer -1: none; sent 0: never; p_chosen NaN: not drawn."""

    who: Ints
    offer: Ints
    channel: Ints
    direction: Ints
    purpose: Ints
    month: Ints
    decided: Ints
    sent: Ints
    p_chosen: Floats
    p_reached: Floats
    p_accept: Floats
    p_harm: Floats
    annoyance: Floats
    reached: Flags
    accepted: Flags
    harmed: Flags


_FIELDS: Final = tuple(Contacts.__dataclass_fields__)
_TRUTH: Final = ("p_reached", "p_accept", "p_harm", "annoyance", "reached", "accepted", "harmed")


@dataclass
class ContactLog:
    """All contacts of a block in the order they were made, and their outcomes."""

    batches: list[Contacts] = field(default_factory=list[Contacts])
    outcomes: list[tuple[Ints, Ints, Ints]] = field(default_factory=list[tuple[Ints, Ints, Ints]])
    n: int = 0

    def add(self, contacts: Contacts) -> Ints:
        """Append contacts; back come their row numbers."""
        rows = np.arange(self.n, self.n + len(contacts.who))
        self.batches.append(contacts)
        self.n += len(rows)
        return rows

    def note(self, rows: Ints, kind: str, at: Ints) -> None:
        """Append an outcome to contacts given by row number."""
        self.outcomes.append((rows, np.full(len(rows), OUTCOME[kind]), at))

    def tables(
        self, people: People, months: tuple[Month, ...], keep: tuple[int, int], until_us: int
    ) -> tuple[pa.Table, pa.Table, pa.Table]:
        """contacts, outcomes and the truth of each contact, of customers keep[0] .. keep[1] - 1."""
        log = {name: np.concatenate([getattr(b, name) for b in self.batches]) for name in _FIELDS}
        order = np.lexsort((log["decided"], log["who"]))
        rank = np.empty_like(order)
        rank[order] = rank_within(log["who"][order])
        contact_id = ids("K", (people.number[log["who"]] + 1, 7), (rank, 4))
        order = order[(log["who"][order] >= keep[0]) & (log["who"][order] < keep[1])]
        chosen = contact_id.take(pa.array(order, pa.int64()))
        log_of = {name: column[order] for name, column in log.items()}
        contacts = _contacts(people, months, chosen, log_of)
        truth = pa.table({"contact_id": chosen, **{n: pa.array(log_of[n]) for n in _TRUTH}})
        outcomes = _outcomes(self.outcomes, log["who"], contact_id, keep, until_us)
        return contacts, outcomes, truth


def _contacts(people: People, months: tuple[Month, ...], contact_id: pa.Array, log: dict[str, Ints]) -> pa.Table:
    campaigns = [f"legacy_{month.label}" for month in months]
    n = len(contact_id)
    return table_of("contacts", {
        "contact_id": contact_id,
        "customer_id": customer_ids(people.number[log["who"]]),
        "campaign_id": words(campaigns, np.where(log["purpose"] == 0, log["month"], -1)),
        "offer_id": words(OFFER_IDS, log["offer"]),
        "channel": words(CHANNEL_IDS, log["channel"]),
        "direction": words(DIRECTIONS, log["direction"]),
        "purpose": words(PURPOSES, log["purpose"]),
        "decided_at": instants(log["decided"]),
        "sent_at": instants(log["sent"], log["sent"] == 0),
        "p_chosen": blank(pa.array(log["p_chosen"]), np.isnan(log["p_chosen"])),
        "answer_by": instants(log["decided"], np.ones(n, np.bool_)),
    })  # fmt: skip


def _outcomes(
    rows: list[tuple[Ints, Ints, Ints]],
    who: Ints,
    contact_id: pa.Array,
    keep: tuple[int, int],
    until_us: int,
) -> pa.Table:
    row, kind, at = (np.concatenate(part) for part in zip(*rows, strict=True))
    # What is answered after the end of the data nobody knows yet.
    kept = np.flatnonzero((who[row] >= keep[0]) & (who[row] < keep[1]) & (at < until_us))
    order = kept[np.lexsort((kind[kept], at[kept], row[kept], who[row[kept]]))]
    return table_of("outcomes", {
        "contact_id": contact_id.take(pa.array(row[order], pa.int64())),
        "kind": words(OUTCOMES, kind[order]),
        "at": instants(at[order]),
    })  # fmt: skip
