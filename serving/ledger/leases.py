"""Seats of a day, leased in blocks: whoever holds a lease may fill so many without asking again.

A lease is a row of `meta`, not a contact: no cap ever counts it. It ends by itself, so that what a dead worker
held is free again. All leases change under one name (`SEATS`), so that together with the contacts that were
made they never exceed what there is.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.engine import Connection

from serving.ledger.book import State, write_meta
from serving.ledger.locks import Touches
from serving.ledger.schema import contacts, meta

SEATS = Touches(names=("seats",))
_PREFIX = "lease "


@dataclass(frozen=True)
class Seats:
    """What a day has of a channel: so many contacts by these campaigns together."""

    channel: str
    campaigns: tuple[str, ...]
    at_most: int


def filled(connection: Connection, seats: Seats, since: int) -> int:
    """Contacts of those campaigns on the channel, decided at `since` or later, that count."""
    query = select(func.count()).where(contacts.c.decided_at >= since, contacts.c.channel == seats.channel,
                                       contacts.c.campaign_id.in_(seats.campaigns), contacts.c.state != State.CLOSED)  # fmt: skip
    return int(connection.execute(query).scalar_one())


def leased(connection: Connection, day: str, now: int, but: str | None = None) -> Counter[str]:
    """Channel -> seats that others than `but` hold on that day."""
    rows = connection.execute(select(meta.c.name, meta.c.value).where(meta.c.name.like(f"{_PREFIX}{day} %")))
    found: Counter[str] = Counter()
    for name, value in rows:
        lease = json.loads(value)
        if lease["until"] > now and name != _name(day, but or ""):
            found.update(lease["seats"])
    return found


def lease(connection: Connection, holder: str, day: str, wanted: Mapping[str, int], offered: Iterable[Seats], since: int,
          now: int, until: int) -> dict[str, int]:  # fmt: skip
    """Channel -> seats the holder now has instead of those before: what he wants, or what is left. Inside SEATS."""
    others = leased(connection, day, now, but=holder)
    seats = {one.channel: max(min(wanted[one.channel], one.at_most - filled(connection, one, since) - others[one.channel]), 0)
             for one in offered if one.channel in wanted}  # fmt: skip
    connection.execute(delete(meta).where(meta.c.name.like(f"{_PREFIX}%"), meta.c.name < f"{_PREFIX}{day}"))
    write_meta(connection, _name(day, holder), json.dumps({"seats": seats, "until": until}, sort_keys=True))
    return seats


def holder_of(run: str | None) -> str:
    """The name under which a run holds seats."""
    return f"run {run}"


def release(connection: Connection, holder: str, day: str) -> None:
    """Give up what the holder has left. Inside SEATS."""
    connection.execute(delete(meta).where(meta.c.name == _name(day, holder)))


def _name(day: str, holder: str) -> str:
    return f"{_PREFIX}{day} {holder}"
