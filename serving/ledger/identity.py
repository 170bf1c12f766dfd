"""Who is whom: reversible merges of customer ids, and what they mean for units and persons.

Two ids that are, or may be, one person share a person_id and a unit: caps, cool-offs, suppressions
and opt-outs of one hold for the other. Only certainty (confidence 1) shares offers; under doubt each
id keeps its own features and holdings, and what only one of them is allowed is not allowed.

A merge is a row that is never deleted: undone, it carries the instant. Units and persons are worked
out anew from the base units and the merges in force, so that any order of merges and unmerges ends
alike. Fuzzy linking (Splink) plugs in as a source of `Link`s: docs/ledger.md.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, insert, or_, select, update
from sqlalchemy.engine import Connection

from serving.ledger.journal import Entered, enter, entries
from serving.ledger.schema import contacts, merges, suppressions, units
from serving.ledger.statement import Statement, is_listed, listed

CERTAIN = 1.0
IMPORTED = "import:"  # how the source of a merge that an import made begins


class MergeError(ValueError):
    """A merge cannot be made or undone so; one line."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two customer ids that are (confidence 1) or may be (below) one person, and who says so."""

    one: str
    other: str
    confidence: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A link as the ledger keeps it. undone_at null: in force. Instants in microseconds UTC."""

    merge_id: str
    one: str
    other: str
    confidence: float
    source: str
    at: int
    undone_at: int | None


def merge(connection: Connection, link: Link, principal: str, reason: str, now: int) -> str:
    """Take two ids for one person from now on; the merge's id. The same pair again changes its confidence.

    MergeError where a pair is no pair or the confidence is none.
    """
    if link.one == link.other:
        raise MergeError("a customer is himself already; name two ids")
    if not 0 < link.confidence <= CERTAIN:
        raise MergeError(f"confidence `{link.confidence}` is none; give one above 0, and 1 for certainty")
    one, other = sorted((link.one, link.other))
    before = _component(connection, {one, other})
    for known in in_force(connection, one):
        if {known.one, known.other} == {one, other}:
            _undo(connection, known.merge_id, now)
    place = len(entries(connection, Entered.MERGE))
    merge_id = "m" + hashlib.sha256(json.dumps([one, other, now, place]).encode()).hexdigest()[:15]
    row = {"merge_id": merge_id, "one": one, "other": other, "confidence": link.confidence, "source": link.source,
           "at": now, "undone_at": None}  # fmt: skip
    connection.execute(insert(merges).values(row))
    settle(connection, before)
    enter(connection, Entered.MERGE, one, principal, now, merge_id=merge_id, other=other,
          confidence=link.confidence, source=link.source, reason=reason)  # fmt: skip
    return merge_id


def unmerge(connection: Connection, merge_id: str, principal: str, reason: str, now: int) -> None:
    """Undo a merge: each id counts for himself again, as far as no other merge says otherwise."""
    row = connection.execute(select(merges).where(merges.c.merge_id == merge_id)).mappings().first()
    if row is None or row["undone_at"] is not None:
        raise MergeError("there is no such merge in force; nbo identity list names them")
    touched = _component(connection, {row["one"], row["other"]})
    _undo(connection, merge_id, now)
    settle(connection, touched)
    enter(connection, Entered.UNMERGE, row["one"], principal, now, merge_id=merge_id, other=row["other"], reason=reason)


def in_force(connection: Connection, customer: str | None = None) -> list[Merge]:
    """Merges in force, of one customer or all, by id."""
    query = select(merges).where(merges.c.undone_at.is_(None)).order_by(merges.c.merge_id)
    if customer is not None:
        query = query.where(or_(merges.c.one == customer, merges.c.other == customer))
    return [Merge(**row) for row in connection.execute(query).mappings()]


def aliases_of(connection: Connection, customer_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Customer -> the other ids that are, or may be, he; only of those who have some."""
    return who_are(connection, customer_ids)[1]


def who_are(connection: Connection, customer_ids: Iterable[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """(Customer -> unit, himself where he has no entry; customer -> his other ids, of those who have some)."""
    asked = list(customer_ids)
    found, others = {customer: customer for customer in asked}, dict[str, list[str]]()
    for customer, unit, other in _WHO.run(connection, customer_ids=listed(asked)).fetchall():
        found[customer] = unit
        if other is not None:
            others.setdefault(customer, []).append(other)
    return found, {customer: tuple(sorted(ids)) for customer, ids in others.items()}


def persons(connection: Connection) -> dict[str, str]:
    """Customer -> person_id, of all who have other ids."""
    rows = connection.execute(select(units.c.customer_id, units.c.person_id).where(units.c.person_id.is_not(None)))
    return {row[0]: row[1] for row in rows}


def certain_groups(connection: Connection, customers: Iterable[str] | None = None) -> list[tuple[str, ...]]:
    """The ids of each person as far as certainty goes; of all, or linked within these customers."""
    among = None if customers is None else set(customers)
    joined = Components()
    for row in in_force(connection) if among is None else _among(connection, among):
        if row.confidence >= CERTAIN and (among is None or {row.one, row.other} <= among):
            joined.join((1, row.one), (1, row.other))
    return joined.groups()


_AMONG = Statement(
    select(*merges.c)
    .where(merges.c.undone_at.is_(None), is_listed(merges.c.one, bindparam("customer_ids")))
    .where(is_listed(merges.c.other, bindparam("customer_ids")))
    .order_by(merges.c.merge_id)
)


def _among(connection: Connection, customers: set[str]) -> list[Merge]:
    """Merges in force within these customers."""
    ids = listed(customers)
    found = _AMONG.run(connection, customer_ids=ids).fetchall()
    return [Merge(**dict(zip(merges.c.keys(), row, strict=True))) for row in found]


def follow_links(connection: Connection, links: Iterable[Link], now: int) -> int:
    """Make the merges of one import what its links say now: new ones in force, gone ones undone; how many changed.

    Merges that people made stay as they are.
    """
    wanted = {(*sorted((k.one, k.other)), k.confidence): k for k in links if k.one != k.other}
    known = {(m.one, m.other, m.confidence): m for m in in_force(connection) if m.source.startswith(IMPORTED)}
    gone = [m for key, m in known.items() if key not in wanted]
    new = [key for key in wanted if key not in known]
    touched = _component(connection, {name for m in gone for name in (m.one, m.other)})
    for row in gone:
        _undo(connection, row.merge_id, now)
    for one, other, confidence in new:
        source = IMPORTED + wanted[one, other, confidence].source
        named = hashlib.sha256(json.dumps([one, other, confidence, source, now]).encode()).hexdigest()[:15]
        row = {"merge_id": "i" + named, "one": one, "other": other, "confidence": confidence, "source": source}
        connection.execute(insert(merges).values(row | {"at": now, "undone_at": None}))
    settle(connection, touched | {name for one, other, _ in new for name in (one, other)})
    return len(gone) + len(new)


def settle(connection: Connection, customers: Iterable[str]) -> int:
    """Work units and persons of the customers, and of all they are linked with, out anew; how many moved.

    A unit's id is the smallest household among its base units, else the smallest customer.
    """
    everyone = _component(connection, set(customers))
    if not everyone:
        return 0
    base, now_in = _bases(connection, everyone)
    links = [(m.one, m.other) for m in in_force(connection) if m.one in everyone]
    person, unit = Components(), Components()
    for customer, home in base.items():
        unit.join((1, customer), (0 if home != customer else 1, home))
    for one, other in links:
        person.join((1, one), (1, other))
        unit.join((1, one), (1, other))
    linked = {name for pair in links for name in pair}
    moved = 0
    for customer in sorted(everyone):
        where = unit.root((1, customer))[1]
        who = person.root((1, customer))[1] if customer in linked else None
        row = {"unit_id": where, "base_unit_id": base[customer], "person_id": who}
        changed = connection.execute(update(units).where(units.c.customer_id == customer).values(row))
        if changed.rowcount == 0:
            connection.execute(insert(units).values(customer_id=customer, **row))
        if now_in.get(customer, customer) != where:
            moved += 1
            for table in (contacts, suppressions):
                connection.execute(update(table).where(table.c.customer_id == customer).values(unit_id=where))
    return moved


class Components:
    """Union-find whose root is the smallest member; households, (0, id), are smaller than customers, (1, id)."""

    def __init__(self) -> None:
        self._above: dict[tuple[int, str], tuple[int, str]] = {}

    def root(self, node: tuple[int, str]) -> tuple[int, str]:
        """The smallest member of the node's component."""
        path: list[tuple[int, str]] = []
        while (above := self._above.get(node, node)) != node:
            path.append(node)
            node = above
        self._above.update(dict.fromkeys(path, node))
        return node

    def groups(self) -> list[tuple[str, ...]]:
        """The ids of each component that was joined, sorted."""
        found: dict[tuple[int, str], set[str]] = {}
        for node in list(self._above):
            found.setdefault(self.root(node), {self.root(node)[1]}).add(node[1])
        return sorted(tuple(sorted(members)) for members in found.values() if len(members) > 1)

    def join(self, one: tuple[int, str], other: tuple[int, str]) -> None:
        """Put both into one component."""
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low


def _undo(connection: Connection, merge_id: str, now: int) -> None:
    connection.execute(update(merges).where(merges.c.merge_id == merge_id).values(undone_at=now))


def _component(connection: Connection, customers: set[str]) -> set[str]:
    """The customers, and everyone in their base units or merged with one of these, however far."""
    found: set[str] = set()
    while fresh := customers - found:
        found |= fresh
        ids = listed(fresh)
        linked = [name for row in _LINKED.run(connection, customer_ids=ids, again=ids).fetchall() for name in row]
        mates = [row[0] for row in _MATES.run(connection, customer_ids=ids).fetchall()]
        customers = found | set(linked) | set(mates)
    return found


def _bases(connection: Connection, customers: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Customer -> base unit, and customer -> unit today."""
    rows = _BASES.run(connection, customer_ids=listed(customers)).fetchall()
    base = {customer: customer for customer in customers} | {row[0]: row[2] or row[1] for row in rows}
    return base, {row[0]: row[1] for row in rows}


_mate, _asked = units.alias("mate"), bindparam("customer_ids")
_is_mate = and_(_mate.c.person_id == units.c.person_id, _mate.c.customer_id != units.c.customer_id)
_WHO = Statement(
    select(units.c.customer_id, units.c.unit_id, _mate.c.customer_id)
    .select_from(units.outerjoin(_mate, _is_mate))
    .where(is_listed(units.c.customer_id, _asked))
)
_MATES = Statement(
    select(_mate.c.customer_id)
    .select_from(units.join(_mate, _mate.c.unit_id == units.c.unit_id))
    .where(is_listed(units.c.customer_id, _asked))
)
_LINKED = Statement(
    select(merges.c.one, merges.c.other)
    .where(merges.c.undone_at.is_(None))
    .where(is_listed(merges.c.one, _asked) | is_listed(merges.c.other, bindparam("again")))
)
_BASES = Statement(
    select(units.c.customer_id, units.c.unit_id, units.c.base_unit_id).where(is_listed(units.c.customer_id, _asked))
)
